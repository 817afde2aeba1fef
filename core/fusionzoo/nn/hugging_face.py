"""Hugging Face models as parts of a text encoder: their configurations and weights, by name or folder."""

from __future__ import annotations

import sys
from typing import Any

from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from fusionzoo.errors import SettingError
from fusionzoo.nn.transformer_layers import find_layer_stacks

DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")  # of attention's weights, as configurations name it


def read_config(name: str) -> dict[str, Any]:
    """The configuration that a name on the hub or a folder has, as plain values.

    Raises:
        SettingError: there is none; names `encoder_name`.
    """
    try:
        return dict(AutoConfig.from_pretrained(name).to_dict())
    except (OSError, ValueError, KeyError) as cause:
        problem = f"no Hugging Face model could be loaded from it ({' '.join(str(cause).split())[:200]})"
        raise SettingError("encoder_name", name, problem, "give a name on the hub, or a local folder") from cause


def make_config(values: dict[str, Any]) -> PretrainedConfig:
    """The configuration object of plain values.

    Raises:
        SettingError: they do not say which kind of model; names `encoder_config`.
    """
    rest = dict(values)
    kind = rest.pop("model_type", None)
    try:
        return AutoConfig.for_model(kind, **rest)
    except (ValueError, KeyError, TypeError) as cause:
        problem = (
            "it has no model_type" if kind is None else f"it cannot be used ({' '.join(str(cause).split())[:200]})"
        )
        raise SettingError("encoder_config", values, problem, 'give for example "model_type": "bert"') from cause


def check_encoder(config: PretrainedConfig, name: str | None, max_tokens: int) -> None:
    """Refuse what is no encoder alone, or has no positions for chunks of `max_tokens` tokens.

    Raises:
        SettingError: names `encoder_name` or `max_sen_len`.
    """
    if config.is_encoder_decoder:
        raise SettingError("encoder_name", name, f"{config.model_type} is no encoder alone", "choose an encoder")
    limit = _positions(config)
    if limit is not None and max_tokens > limit:
        problem = f"the encoder has positions for {limit} tokens"
        raise SettingError("max_sen_len", max_tokens, problem, f"give {limit} or less; longer texts are chunked")


def _positions(config: PretrainedConfig) -> int | None:
    """Tokens that absolute positions allow, None without a limit; RoBERTa and its kin count from pad_token_id + 1."""
    limit = getattr(config, "max_position_embeddings", None)
    if limit is None or limit <= 0:
        return None
    offset = config.pad_token_id + 1 if "roberta" in config.model_type or config.model_type == "camembert" else 0
    return int(limit) - offset


def create_encoder(config: PretrainedConfig) -> PreTrainedModel:
    """An encoder with random weights in float32.

    With dropout on a CPU, it runs plain operations in the place of torch's attention: torch has no fused kernel there,
    and what it does instead takes longer. Both are the same function and draw the same numbers: results differ by
    rounding.
    """
    backbone: PreTrainedModel = AutoModel.from_config(config).float()  # type: ignore[no-untyped-call]
    exchangeable = hasattr(backbone, "set_attn_implementation")  # since transformers 4.52
    if (
        exchangeable
        and backbone.config._attn_implementation == "sdpa"
        and any(getattr(backbone.config, n, 0) for n in DROPOUTS)
    ):
        backbone.register_forward_pre_hook(_use_attention)
    return backbone


def _use_attention(backbone: PreTrainedModel, arguments: tuple[Any, ...]) -> None:
    wanted = "eager" if backbone.training and backbone.device.type == "cpu" else "sdpa"
    if backbone.config._attn_implementation != wanted:
        backbone.set_attn_implementation(wanted)


def last_layer_prefixes(backbone: PreTrainedModel, count: int) -> tuple[str, ...]:
    """The prefixes of the parameters of the last `count` layers.

    Raises:
        SettingError: its layers share their weights, so that none is the last; names `reinit_layers`.
    """
    if count == 0:
        return ()
    layers = backbone.config.num_hidden_layers
    stacks = find_layer_stacks(backbone, layers)
    if not stacks:
        problem = f"the layers of {backbone.config.model_type} share their weights"
        raise SettingError("reinit_layers", count, problem, "remove it, or choose another encoder")
    return tuple(f"{stacks[0]}{i}." for i in range(layers - count, layers))


def load_weights(backbone: PreTrainedModel, name: str, anew: tuple[str, ...] = ()) -> None:
    """Put the pretrained weights of a name or folder in place, in float32, except under the prefixes `anew`.

    Raises:
        SettingError: weights are missing there; names `encoder_name`.
    """
    if not sys.stderr.isatty():
        disable_progress_bar()  # type: ignore[no-untyped-call]  # it would be one huge line of a log
    source, own = AutoModel.from_pretrained(name).float().state_dict(), backbone.state_dict()
    left = backbone.load_state_dict(
        {k: v for k, v in source.items() if k in own and not k.startswith(anew)}, strict=False
    )
    if missing := [key for key in left.missing_keys if not key.startswith(anew)]:
        raise SettingError("encoder_name", name, f"its weights lack {missing[:3]}", "choose another, or mend it")
