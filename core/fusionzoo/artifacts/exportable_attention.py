"""An equivalent of torch's attention function that the tracing exporter can export with dynamic shapes.

`nn.MultiheadAttention` and the layers of `nn.Transformer` call `torch.nn.functional.multi_head_attention_forward`. It
reshapes with sizes that tracing turns into constants, so that the exported graph works for one length only.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@contextmanager
def exportable_attention(model: nn.Module) -> Iterator[None]:
    """Make the attention of torch's own modules exportable while the context is open.

    It replaces the function that computes the attention, so that subclasses of torch's modules work, too, and turns the
    fused inference kernels off, which ONNX does not have. The results are equal.

    Args:
        model: the model to export, in evaluation mode.
    """
    original = F.multi_head_attention_forward
    signature = inspect.signature(original)

    def attend(*args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        call = signature.bind(*args, **kwargs)
        call.apply_defaults()
        options = call.arguments
        if options["static_k"] is not None or options["static_v"] is not None:  # no module of torch passes them
            return original(*args, **kwargs)
        return _attend(options)

    with ExitStack() as restore:
        _turn_fast_path_off(model, restore)
        F.multi_head_attention_forward = attend
        restore.callback(setattr, F, "multi_head_attention_forward", original)
        yield


def _turn_fast_path_off(model: nn.Module, restore: ExitStack) -> None:
    if hasattr(torch.backends, "mha"):
        restore.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        return
    # Older versions have no switch, but do not take the fast path with weights that require gradients.
    restore.enter_context(torch.enable_grad())
    for parameter in model.parameters():
        if parameter.is_floating_point() and not parameter.requires_grad:
            restore.callback(parameter.requires_grad_, False)
            parameter.requires_grad_()


def _attend(call: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """Compute attention from the arguments of torch's function, by name.

    Query, key and value are [length, chunks, dim], or [length, dim]. Returns the output in the shape of the query, and
    the weights [chunks, (heads,) target length, source length] if `need_weights`.
    """
    is_batched, heads = call["query"].dim() == 3, call["num_heads"]
    query, key, value = (_split_heads(part, heads) for part in _project_inputs(call, is_batched))
    attn_mask, padding_mask = (_as_bias(call[name], query.dtype) for name in ("attn_mask", "key_padding_mask"))
    is_causal = call["is_causal"] and padding_mask is None and not call["need_weights"]
    attn_mask = None if is_causal else attn_mask  # as in torch: the hint replaces the mask, also over added keys
    if call["add_zero_attn"]:
        key, value = F.pad(key, (0, 0, 0, 1)), F.pad(value, (0, 0, 0, 1))
    num_added = int(call["bias_k"] is not None) + int(call["add_zero_attn"])  # keys that no mask covers
    bias = None
    if attn_mask is not None:
        attn_mask = attn_mask if attn_mask.dim() == 2 else torch.unflatten(attn_mask, 0, (-1, heads))
        bias = F.pad(attn_mask, (0, num_added))
    if padding_mask is not None:
        padding_mask = F.pad(padding_mask if is_batched else padding_mask[None], (0, num_added))[:, None, None]
        bias = padding_mask if bias is None else bias + padding_mask
    dropout = call["dropout_p"] if call["training"] else 0.0
    if call["need_weights"]:
        scores = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        weights = F.dropout((scores if bias is None else scores + bias).softmax(dim=-1), dropout)
        attended = weights @ value
    else:
        attended = F.scaled_dot_product_attention(query, key, value, bias, dropout, is_causal)
    joined = attended.permute(2, 0, 1, 3).flatten(start_dim=2)
    output = F.linear(joined, call["out_proj_weight"], call["out_proj_bias"])
    output = output if is_batched else output.squeeze(1)
    if not call["need_weights"]:
        return output, None
    weights = weights.mean(dim=1) if call["average_attn_weights"] else weights
    return output, weights if is_batched else weights.squeeze(0)


def _project_inputs(call: Mapping[str, Any], is_batched: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Return the projected query, key and value [length, chunks, dim], key and value with their learned last entry."""
    inputs = [call[name] if is_batched else call[name].unsqueeze(1) for name in ("query", "key", "value")]
    if call["use_separate_proj_weight"]:
        weights = [call[name] for name in ("q_proj_weight", "k_proj_weight", "v_proj_weight")]
    else:
        weights = list(call["in_proj_weight"].chunk(3))
    biases = [None] * 3 if call["in_proj_bias"] is None else call["in_proj_bias"].chunk(3)
    query, key, value = (F.linear(*each) for each in zip(inputs, weights, biases, strict=True))
    if call["bias_k"] is not None:
        key = torch.cat([key, call["bias_k"].expand(-1, key.shape[1], -1)])
        value = torch.cat([value, call["bias_v"].expand(-1, value.shape[1], -1)])
    return query, key, value


def _split_heads(projected: Tensor, heads: int) -> Tensor:
    """Return [chunks, heads, length, dim of a head] of [length, chunks, dim]."""
    return torch.unflatten(projected, -1, (heads, -1)).permute(1, 2, 0, 3)


def _as_bias(mask: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    """Return what is added to the scores for a mask of torch's function: True = not attended to, or the bias itself."""
    if mask is None or mask.is_floating_point():
        return mask
    return torch.zeros_like(mask, dtype=dtype).masked_fill(mask, float("-inf"))
