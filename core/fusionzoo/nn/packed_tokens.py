"""Compute real tokens only: lay the tokens of all chunks end to end, and convolve them there."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from fusionzoo.nn.length_groups import is_traced


class PackedTokens:
    """The layout of all real tokens of a batch in one sequence, chunk after chunk.

    Args:
        mask: [chunks, length] bool, True = real. A chunk's real tokens come first, and it has at least one.
    """

    def __init__(self, mask: Tensor) -> None:
        lengths = mask.sum(dim=1)
        ends = lengths.cumsum(dim=0)
        positions = torch.arange(int(lengths.sum()), device=mask.device)
        chunk = torch.repeat_interleave(torch.arange(len(lengths), device=mask.device), lengths)
        self.mask, self.starts = mask, ends - lengths  # [chunks]
        self._positions, self._first, self._end = positions, self.starts[chunk], ends[chunk]  # [tokens]

    def pack(self, values: Tensor) -> Tensor:
        """Return the values of the real tokens: [chunks, length, dim] to [tokens, dim]."""
        return F.embedding(torch.nonzero(self.mask.flatten()).squeeze(1), values.flatten(0, 1))

    def unpack(self, packed: Tensor) -> Tensor:
        """Return the inverse of `pack`, zero beyond the mask: [tokens, dim] to [chunks, length, dim]."""
        places = self.starts[:, None] + torch.arange(self.mask.shape[1], device=packed.device)
        return _gather_or_zero(packed, places, self.mask)

    def windows(self, packed: Tensor, size: int) -> Tensor:
        """Return the tokens around each token: [tokens, dim] to [tokens, size * dim], in their order.

        A window begins (size - 1) // 2 tokens before its own token. It is zero beyond the token's chunk.
        """
        offsets = torch.arange(size, device=packed.device) - (size - 1) // 2
        places = self._positions[:, None] + offsets
        is_inside = (places >= self._first[:, None]) & (places < self._end[:, None])
        return _gather_or_zero(packed, places, is_inside).flatten(1)


class PaddedTokens:
    """The layout of an exported graph, which must be valid for any number of tokens: they keep their padding."""

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def pack(self, values: Tensor) -> Tensor:
        """Return the values unchanged: [chunks, length, dim]."""
        return values

    def unpack(self, packed: Tensor) -> Tensor:
        """Return the values unchanged: [chunks, length, dim]."""
        return packed


TokenLayout = PackedTokens | PaddedTokens


def choose_layout(mask: Tensor) -> TokenLayout:
    """Return how to compute layers that treat each token alone: packed, but padded while the model is traced."""
    return PaddedTokens(mask) if is_traced() else PackedTokens(mask)


def _gather_or_zero(packed: Tensor, places: Tensor, is_real: Tensor) -> Tensor:
    # The gradient of `F.embedding` is deterministic on a GPU; that of an index is not.
    return F.embedding(torch.where(is_real, places, packed.shape[0]), F.pad(packed, (0, 0, 0, 1)))


class Convolved(NamedTuple):
    """The result of a convolution over packed tokens."""

    tokens: Tensor  # [tokens, channels]
    windows: Tensor  # [tokens, size * dim]
    kernel: Tensor  # [channels, size * dim]
    bias: Tensor  # [channels]


def convolve(layer: nn.Conv1d, packed: Tensor, layout: PackedTokens) -> Convolved:
    """Apply a convolution to [tokens, dim], with zeros beyond each chunk, as one matrix product.

    The result is that of `layer` on each chunk with (size - 1) // 2 zeros before it and size // 2 after it.
    """
    if layer.bias is None:
        raise ValueError("the convolution needs a bias")
    windows = layout.windows(packed, layer.kernel_size[0])
    kernel = layer.weight.transpose(1, 2).flatten(1)
    return Convolved(F.linear(windows, kernel, layer.bias), windows, kernel, layer.bias)


def max_per_chunk(convolved: Convolved, layout: PackedTokens, features: Tensor) -> Tensor:
    """Return the maximum of relu over each chunk's tokens, [chunks, channels], with a sparse gradient.

    Only the window at the maximum has a gradient: one of a chunk's tokens per channel. So the backward pass does not
    compute the two dense products of a convolution. If several tokens have the maximum, it goes to the first one.

    Args:
        features: [chunks, length, channels], relu of `convolved.tokens`, zero on padding. They are only read.
    """
    # Padding is never the first maximum: it is zero like the smallest value of relu, and comes after a real token.
    place = features.detach().max(dim=1).indices + layout.starts[:, None]
    tokens, *inputs = convolved
    maximum: Tensor = _SelectOutputs.apply(tokens.detach(), place, *inputs)  # type: ignore[no-untyped-call]
    return maximum.relu()


class _SelectOutputs(torch.autograd.Function):
    """Select entries of `windows @ kernel.T + bias`, computed before; the gradient reads their windows only."""

    @staticmethod
    def forward(ctx: Any, outputs: Tensor, place: Tensor, windows: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
        """Return outputs[place[i, c], c] for each i and channel c: [n, channels]."""
        ctx.save_for_backward(place, windows, kernel)
        ctx.bias_dtype = bias.dtype
        return outputs.gather(0, place)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        place, windows, kernel = ctx.saved_tensors
        needs_windows, needs_kernel, needs_bias = ctx.needs_input_grad[2:]
        dtype = torch.promote_types(kernel.dtype, torch.float32)
        grad = grad_outputs[0].to(dtype)
        of_windows = _sum_kernels(grad, place, kernel.to(dtype), len(windows)) if needs_windows else None
        of_kernel = _sum_windows(grad, place, windows.to(dtype)) if needs_kernel else None
        of_bias = grad.sum(dim=0).to(ctx.bias_dtype) if needs_bias else None
        return None, None, _cast(of_windows, windows), _cast(of_kernel, kernel), of_bias


def _sum_windows(grad: Tensor, place: Tensor, windows: Tensor) -> Tensor:
    """Return for each channel the sum of its selected windows, weighted by their gradients, [channels, size * dim]."""
    rows, channels = place.shape
    starts = torch.arange(0, rows * channels, rows, device=place.device)
    weights = grad.t().reshape(-1)
    return F.embedding_bag(place.t().reshape(-1), windows, starts, mode="sum", per_sample_weights=weights)


def _sum_kernels(grad: Tensor, place: Tensor, kernel: Tensor, tokens: int) -> Tensor:
    """Return for each token the sum of the kernels that selected its window, weighted, [tokens, size * dim]."""
    sorted_place, order = place.reshape(-1).sort(stable=True)
    starts = torch.searchsorted(sorted_place, torch.arange(tokens, device=place.device))
    channel = order % place.shape[1]
    weights = grad.reshape(-1)[order]
    return F.embedding_bag(channel, kernel, starts, mode="sum", per_sample_weights=weights)


def _cast(values: Tensor | None, like: Tensor) -> Tensor | None:
    return None if values is None else values.to(like.dtype)
