"""Load the configurations and weights of Hugging Face models, by name or folder, for use in a text encoder."""

from __future__ import annotations

import sys
from typing import Any

from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from fusionzoo.errors import SettingError
from fusionzoo.nn.transformer_layers import find_layer_stacks

# The names under which configurations store the dropout of attention weights.
ATTENTION_DROPOUT_KEYS = ("attention_probs_dropout_prob", "attention_dropout")


def read_config(name: str) -> dict[str, Any]:
    """Return the configuration of a model on the Hugging Face Hub or in a folder, as plain values.

    Raises:
        SettingError: there is no configuration; names `encoder_name`.
    """
    try:
        return dict(AutoConfig.from_pretrained(name).to_dict())
    except (OSError, ValueError, KeyError) as cause:
        problem = f"no Hugging Face model could be loaded from it ({_shorten(cause)})"
        remedy = "give the name of a model on the Hugging Face Hub, or a local folder"
        raise SettingError("encoder_name", name, problem, remedy) from cause


def make_config(values: dict[str, Any]) -> PretrainedConfig:
    """Return the configuration object for plain values.

    Raises:
        SettingError: `model_type` is missing or unknown, or a value is invalid; names `encoder_config`.
    """
    options = dict(values)
    model_type = options.pop("model_type", None)
    try:
        return AutoConfig.for_model(model_type, **options)
    except (ValueError, KeyError, TypeError) as cause:
        problem = "it has no model_type" if model_type is None else f"it is invalid ({_shorten(cause)})"
        raise SettingError("encoder_config", values, problem, 'add for example "model_type": "bert"') from cause


def check_encoder(config: PretrainedConfig, name: str | None, max_tokens: int) -> None:
    """Check that the model is encoder-only and has positions for chunks of `max_tokens` tokens.

    Raises:
        SettingError: names `encoder_name` or `max_sen_len`.
    """
    if config.is_encoder_decoder:
        problem = f"{config.model_type} is an encoder-decoder model"
        raise SettingError("encoder_name", name, problem, "choose an encoder-only model such as bert-base-uncased")
    limit = _max_positions(config)
    if limit is not None and max_tokens > limit:
        problem = f"the encoder has positions for {limit} tokens"
        raise SettingError("max_sen_len", max_tokens, problem, f"set {limit} or less; longer texts are split in chunks")


def _max_positions(config: PretrainedConfig) -> int | None:
    """Return the number of tokens that absolute positions allow, or None if there is no limit.

    RoBERTa and its relatives number positions from pad_token_id + 1.
    """
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    offset = config.pad_token_id + 1 if "roberta" in config.model_type or config.model_type == "camembert" else 0
    return int(limit) - offset


def create_encoder(config: PretrainedConfig) -> PreTrainedModel:
    """Return an encoder with random weights in float32.

    When it trains with attention dropout on a CPU, it uses the eager attention implementation instead of torch's
    scaled_dot_product_attention: torch has no fused CPU kernel with dropout, and its fallback is slower. Both compute
    the same function with the same random numbers; results differ by rounding.
    """
    backbone: PreTrainedModel = AutoModel.from_config(config).float()  # type: ignore[no-untyped-call]
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
        SettingError: the layers share their weights, so none of them is the last; names `reinit_layers`.
    """
    if count == 0:
        return ()
    num_layers = backbone.config.num_hidden_layers
    stacks = find_layer_stacks(backbone, num_layers)
    if not stacks:
        problem = f"the layers of {backbone.config.model_type} share their weights"
        raise SettingError("reinit_layers", count, problem, "remove it, or choose another encoder")
    return tuple(f"{stacks[0]}{i}." for i in range(num_layers - count, num_layers))


def load_weights(backbone: PreTrainedModel, name: str, skip_prefixes: tuple[str, ...] = ()) -> None:
    """Load the pretrained weights of a name or folder in float32, except for parameters with these prefixes.

    Raises:
        SettingError: weights are missing; names `encoder_name`.
    """
    if not sys.stderr.isatty():
        disable_progress_bar()  # type: ignore[no-untyped-call]  # in a log file it becomes one very long line
    weights, names = AutoModel.from_pretrained(name).float().state_dict(), backbone.state_dict()
    result = backbone.load_state_dict(
        {key: value for key, value in weights.items() if key in names and not key.startswith(skip_prefixes)},
        strict=False,
    )
    if missing := [key for key in result.missing_keys if not key.startswith(skip_prefixes)]:
        problem = f"its weights lack {missing[:3]}"
        raise SettingError("encoder_name", name, problem, "choose another model, or save this one again")


def _shorten(cause: BaseException) -> str:
    return " ".join(str(cause).split())[:200]
