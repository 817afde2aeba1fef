"""Run a Hugging Face model to find out whether it can be a text encoder, and the longest chunk that it can compute.

This needs no table of families, which differ in their positions; some also mix the chunks of a batch.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel

from fusionzoo import errors
from fusionzoo.nn.hugging_face import create_encoder, find_model_class
from fusionzoo.nn.machine_memory import read_total_memory

log = logging.getLogger(__name__)

MAX_LAYERS = 1000
MAX_PROBED_TOKENS = 8192  # attention over longer chunks would take minutes
SHORT_CHUNK = 5  # tokens; a chunk that fits into every encoder
NUM_PROBE_TOKENS = 16  # distinct ordinary token ids in a probe
TOLERANCE = 1e-3  # features are of the order of 1; a padding token that is mixed in changes them by 0.01 or more
PROBE_ERRORS = (AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)  # of any family


def check_encoder(
    config: PretrainedConfig, setting: str, value: object, max_tokens: int, with_pooler: bool = False
) -> None:
    """Check that a model is a text encoder that can compute a chunk of `max_tokens` tokens.

    It runs with random weights, one layer and a small vocabulary where the family allows it.

    Args:
        config: the model's configuration.
        setting: the setting that names the model; errors name it.
        value: the value of that setting.
        max_tokens: the setting `max_sen_len`. Chunks of more than `MAX_PROBED_TOKENS` tokens are not tried.
        with_pooler: whether the pooler is used, too.

    Raises:
        errors.SettingError: names `setting`, `pooling` or `max_sen_len`, and the family.
    """
    family = str(config.model_type)
    if find_model_class(config) is None:
        reason = "their encoder cannot be used on its own" if config.is_encoder_decoder else "they have no base model"
        raise errors.unsupported_family(setting, value, family, reason)
    if not _has_plausible_layers(config):
        raise errors.wrong_layer_count(setting, value, getattr(config, "num_hidden_layers", None), MAX_LAYERS)
    if any(isinstance(part, PretrainedConfig) for part in vars(config).values()):
        raise errors.unsupported_family(setting, value, family, "they consist of several models")
    if (needed := _measure_layer(config)) > (available := read_total_memory()):
        raise errors.encoder_too_large(setting, value, needed, available)
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        try:
            backbone, tokens, output = _run_small(config, with_pooler)
        except Exception as cause:  # each family fails in its own way
            reason = f"they do not run on token ids alone ({type(cause).__name__}: {cause})"
            raise errors.unsupported_family(setting, value, family, reason) from cause
        if fault := _find_wrong_output(output, config):
            raise errors.unsupported_family(setting, value, family, fault)
        if with_pooler and not isinstance(getattr(output, "pooler_output", None), Tensor):
            raise errors.no_pooler(family)
        limit = _find_max_tokens(backbone, tokens, min(max_tokens, MAX_PROBED_TOKENS))
        if limit < min(max_tokens, MAX_PROBED_TOKENS):
            raise errors.too_few_positions(max_tokens, limit, family)
        if _depends_on_batch(backbone, tokens, limit):
            reason = "their features of a text depend on padding or on the other texts of the batch"
            raise errors.unsupported_family(setting, value, family, reason)


def _has_plausible_layers(config: PretrainedConfig) -> bool:
    """Return whether a model has 1 to `MAX_LAYERS` layers, or does not say."""
    layers = getattr(config, "num_hidden_layers", 1)
    return not isinstance(layers, int) or 1 <= layers <= MAX_LAYERS


def _measure_layer(config: PretrainedConfig) -> int:
    """Return the bytes of the weights of the model with one layer; 0 if its family cannot be built without storage."""
    try:
        with torch.device("meta"):
            backbone = create_encoder(_with_one_layer(config))
    except Exception as cause:  # noqa: BLE001 - the probe reports real errors
        log.debug("The size of the encoder is not known: %s", cause)
        return 0
    return sum(weight.numel() * weight.element_size() for weight in backbone.parameters())


def _run_small(config: PretrainedConfig, with_pooler: bool) -> tuple[PreTrainedModel, Tensor, Any]:
    """Return the model with few tokens and, if its family allows it, one layer; ids of tokens; and an output of it."""
    small = copy.deepcopy(config)
    special = [i for name, i in vars(config).items() if name.endswith("_token_id") and isinstance(i, int)]
    first = max(special, default=-1) + 1
    if isinstance(getattr(config, "vocab_size", None), int):
        first = min(first, max(0, config.vocab_size - NUM_PROBE_TOKENS))
    for name in ["vocab_size", *(name for name in vars(config) if name.endswith("vocab_size"))]:
        if isinstance(size := getattr(config, name, None), int):
            setattr(small, name, min(size, first + NUM_PROBE_TOKENS))
    tokens = torch.arange(first, first + NUM_PROBE_TOKENS)
    try:
        backbone = create_encoder(_with_one_layer(small), with_pooler).train(False)
        return backbone, tokens, _run(backbone, tokens, [SHORT_CHUNK])
    except PROBE_ERRORS:  # this family needs its layers, so the whole model runs, and its errors are reported
        backbone = create_encoder(small, with_pooler).train(False)
        return backbone, tokens, _run(backbone, tokens, [SHORT_CHUNK])


def _with_one_layer(config: PretrainedConfig) -> PretrainedConfig:
    small = copy.deepcopy(config)
    layers = int(small.num_hidden_layers)
    for name, value in vars(config).items():
        if isinstance(value, list) and len(value) == layers:  # one value per layer, such as an attention window
            setattr(small, name, value[:1])
    small.num_hidden_layers = 1
    return small


def _run(backbone: PreTrainedModel, tokens: Tensor, lengths: Sequence[int]) -> Any:
    """Run the model on one chunk per length; chunk i starts with the i-th token."""
    longest = max(lengths)
    mask = torch.arange(longest) < torch.tensor(lengths)[:, None]
    positions = torch.arange(longest) + torch.arange(len(lengths))[:, None]
    pad_id = backbone.config.pad_token_id
    pad_id = pad_id if isinstance(pad_id, int) and pad_id >= 0 else int(tokens[0])
    ids = torch.where(mask, tokens[positions % len(tokens)], torch.tensor(pad_id))
    return backbone(input_ids=ids, attention_mask=mask.long())


def _find_wrong_output(output: Any, config: PretrainedConfig) -> str | None:
    features = getattr(output, "last_hidden_state", None)
    if not isinstance(features, Tensor):
        return "they do not return one vector per token (last_hidden_state)"
    expected = (1, SHORT_CHUNK, int(config.hidden_size))
    if tuple(features.shape) != expected:
        return f"the features of {SHORT_CHUNK} tokens have shape {tuple(features.shape)} instead of {expected}"
    if not bool(torch.isfinite(features).all()):
        return "their features are not finite"
    return None


def _find_max_tokens(backbone: PreTrainedModel, tokens: Tensor, max_tokens: int) -> int:
    """Return the length of the longest chunk, up to `max_tokens`, that the model can compute."""
    if _can_compute(backbone, tokens, max_tokens):
        return max_tokens
    possible, impossible = SHORT_CHUNK if max_tokens > SHORT_CHUNK else 0, max_tokens
    while impossible - possible > 1:
        middle = (possible + impossible) // 2
        if _can_compute(backbone, tokens, middle):
            possible = middle
        else:
            impossible = middle
    return possible


def _can_compute(backbone: PreTrainedModel, tokens: Tensor, length: int) -> bool:
    try:
        _run(backbone, tokens, [length])
    except PROBE_ERRORS:
        return False
    return True


def _depends_on_batch(backbone: PreTrainedModel, tokens: Tensor, longest: int) -> bool:
    """Return whether a short chunk has other features in a batch with the longest one than alone."""
    short = min(SHORT_CHUNK, longest)
    alone = _run(backbone, tokens, [short]).last_hidden_state[0]
    batched = _run(backbone, tokens, [short, longest]).last_hidden_state[0, :short]
    return not torch.allclose(alone, batched, atol=TOLERANCE, rtol=TOLERANCE)
