"""Load the configurations and weights of Hugging Face models, by name or folder, for use in a text encoder."""

from __future__ import annotations

import logging
import sys
from typing import Any

from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import PretrainedSource, check_weights, find_pretrained, is_own_code_error
from fusionzoo.data.text.text_tokenizer import WORD_TOKENIZER, find_other_token, load_tokenizer
from fusionzoo.nn.transformer_layers import find_layer_stacks

log = logging.getLogger(__name__)

# The names under which configurations store the dropout of attention weights.
ATTENTION_DROPOUT_KEYS = ("attention_probs_dropout_prob", "attention_dropout")


def read_config(source: PretrainedSource) -> dict[str, Any]:
    """Return the configuration of a model on the Hugging Face Hub or in a folder, as plain values.

    Checks the weights of a folder, too, so that a job without them fails before it reads data.

    Raises:
        errors.SettingError: there is no configuration, or the weights are absent or damaged.
    """
    location = find_pretrained(source)
    try:
        values = dict(AutoConfig.from_pretrained(location, trust_remote_code=False).to_dict())
    except Exception as cause:  # the library's validation of a configuration has errors of its own
        if is_own_code_error(cause):
            raise errors.own_python_code(source.setting, source.name) from cause
        raise errors.no_pretrained_model(source.setting, source.name, cause) from cause
    check_weights(source, location)
    return values


def make_config(values: dict[str, Any]) -> PretrainedConfig:
    """Return the configuration object for plain values.

    Raises:
        errors.SettingError: `model_type` is missing or unknown, or a value is invalid; names `encoder_config`.
    """
    options = dict(values)
    model_type = options.pop("model_type", None)
    try:
        return AutoConfig.for_model(model_type, **options)
    except Exception as cause:  # the library's validation of a configuration has errors of its own
        raise errors.invalid_encoder_config(values, None if model_type is None else cause) from cause


class _NoPooler(nn.Module):
    """Replaces a pooler that would get no gradient; some encoders cannot run without one."""

    def forward(self, hidden: Tensor, *_: Any, **__: Any) -> Tensor:
        return hidden[:, 0]


def create_encoder(config: PretrainedConfig, with_pooler: bool = True) -> PreTrainedModel:
    """Return an encoder with random weights in float32, and with the pooler of its family if it is used.

    When it trains with attention dropout on a CPU, it uses the eager attention implementation instead of torch's
    scaled_dot_product_attention: torch has no fused CPU kernel with dropout, and its fallback is slower. Both compute
    the same function with the same random numbers; results differ by rounding.
    """
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"  # BigBird switches permanently at its first short chunk
    backbone: PreTrainedModel = AutoModel.from_config(config, trust_remote_code=False).float()  # type: ignore[no-untyped-call]
    if not with_pooler and isinstance(getattr(backbone, "pooler", None), nn.Module):
        backbone.pooler = _NoPooler()
    can_switch = hasattr(backbone, "set_attn_implementation")  # since transformers 4.52
    has_dropout = any(getattr(backbone.config, key, 0) for key in ATTENTION_DROPOUT_KEYS)
    if can_switch and has_dropout and backbone.config._attn_implementation == "sdpa":
        backbone.register_forward_pre_hook(_choose_attention)
    return backbone


def _choose_attention(backbone: PreTrainedModel, inputs: tuple[Any, ...]) -> None:
    implementation = "eager" if backbone.training and backbone.device.type == "cpu" else "sdpa"
    if backbone.config._attn_implementation != implementation:
        backbone.set_attn_implementation(implementation)


def last_layer_prefixes(backbone: PreTrainedModel, count: int) -> tuple[str, ...]:
    """Return the name prefixes of the parameters of the last `count` layers.

    Raises:
        errors.SettingError: the layers share their weights, so none of them is the last; names `reinit_layers`.
    """
    if count == 0:
        return ()
    num_layers = backbone.config.num_hidden_layers
    stacks = find_layer_stacks(backbone, num_layers)
    if not stacks:
        raise errors.shared_layers(count, str(backbone.config.model_type))
    return tuple(f"{stacks[0]}{i}." for i in range(num_layers - count, num_layers))


def load_weights(backbone: PreTrainedModel, name: str, skip_prefixes: tuple[str, ...] = ()) -> None:
    """Load the pretrained weights of a name or folder in float32, except for parameters with these prefixes.

    Raises:
        errors.SettingError: weights are missing or damaged; names `encoder_name`.
    """
    if not sys.stderr.isatty():
        disable_progress_bar()  # type: ignore[no-untyped-call]  # in a log file it becomes one very long line
    location = find_pretrained(PretrainedSource("encoder_name", name))
    try:
        loaded = AutoModel.from_pretrained(location, trust_remote_code=False)
    except Exception as cause:  # safetensors, torch and transformers have no common class of errors
        raise errors.damaged_weights("encoder_name", name, location, cause) from cause
    weights, names = loaded.float().state_dict(), backbone.state_dict()
    result = backbone.load_state_dict(
        {key: value for key, value in weights.items() if key in names and not key.startswith(skip_prefixes)},
        strict=False,
    )
    if missing := [key for key in result.missing_keys if not key.startswith(skip_prefixes)]:
        raise errors.missing_weights("encoder_name", name, missing)


def check_tokenizer(encoder: PretrainedSource, tokenizer_name: str) -> None:
    """Check that the ids of the job's tokenizer mean the same tokens as those of the pretrained encoder's own one.

    Raises:
        errors.SettingError: they do not; names `tokenizer`.
    """
    if tokenizer_name == encoder.name:
        return
    try:
        own = load_tokenizer(encoder.name, encoder.setting)
    except errors.TokenizerError as cause:
        log.warning(
            "%s has no tokenizer of its own, so it is not known whether '%s' has the tokens that it was trained with. "
            "(%s)",
            *(encoder.name, tokenizer_name, cause.parts[0]),
        )
        return
    if tokenizer_name == WORD_TOKENIZER:
        raise errors.other_tokens(tokenizer_name, encoder.name, "its vocabulary is built from the training text")
    if reason := find_other_token(load_tokenizer(tokenizer_name), own):
        raise errors.other_tokens(tokenizer_name, encoder.name, reason)
