"""Load the configurations and weights of Hugging Face models, by name or folder, for use in a text encoder."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoModelForTextEncoding, PretrainedConfig, PreTrainedModel
from transformers import __version__ as transformers_version
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING
from transformers.utils.logging import disable_progress_bar, get_verbosity, set_verbosity, set_verbosity_error

from fusionzoo import errors
from fusionzoo.data.text.pretrained_files import (
    PretrainedSource,
    check_config_file,
    check_no_adapter,
    check_no_adapter_on_hub,
    check_weights,
    find_pretrained,
    is_own_code_error,
)
from fusionzoo.data.text.text_tokenizer import WORD_TOKENIZER, find_other_token, load_tokenizer
from fusionzoo.errors.pretrained_errors import nonfinite_weights, weights_do_not_fit
from fusionzoo.errors.wording import list_names
from fusionzoo.nn.saved_weights import check_layouts, remove_base_name
from fusionzoo.nn.transformer_layers import find_layer_stacks

log = logging.getLogger(__name__)

# The names under which configurations store the dropout of attention weights.
ATTENTION_DROPOUT_KEYS = ("attention_probs_dropout_prob", "attention_dropout")


def read_config(source: PretrainedSource) -> dict[str, Any]:
    """Return the configuration of a model on the Hugging Face Hub or in a folder, as plain values.

    Checks the weights of a folder, too, so that a job without them fails before it reads data.

    Raises:
        errors.SettingError: there is no configuration, its family is not in the installed version of transformers, or
            the weights are absent or damaged, or those of an adapter.
    """
    location = find_pretrained(source)
    check_no_adapter(source, location)
    check_config_file(source, location)
    try:
        saved = PretrainedConfig.get_config_dict(location)[0]
        is_known = saved.get("model_type") in {*CONFIG_MAPPING, None} or "auto_map" in saved
        values = dict(AutoConfig.from_pretrained(location, trust_remote_code=False).to_dict()) if is_known else {}
    except Exception as cause:  # the library's validation of a configuration has errors of its own
        if is_own_code_error(cause):
            raise errors.own_python_code(source.setting, source.name) from cause
        check_no_adapter_on_hub(source, location)
        raise errors.no_pretrained_model(source.setting, source.name, cause) from cause
    if not is_known:
        raise errors.unknown_family(source.setting, source.name, str(saved["model_type"]), transformers_version)
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


def find_model_class(config: PretrainedConfig) -> Any:
    """Return transformers' class of an encoder: for encoder-decoder models such as T5, the class of their encoder.

    Returns:
        The class, a subclass of `PreTrainedModel`; None if transformers has no model, or no encoder on its own.
    """
    mapping = MODEL_FOR_TEXT_ENCODING_MAPPING if config.is_encoder_decoder else MODEL_MAPPING
    found = mapping.get(type(config), None)
    return found[0] if isinstance(found, tuple) else found


def check_gradient_checkpointing(config: PretrainedConfig) -> None:
    """Check that the family of an encoder can recompute its layers in the backward pass.

    Raises:
        errors.SettingError: it cannot; names `use_gradient_checkpointing`.
    """
    if not getattr(find_model_class(config), "supports_gradient_checkpointing", False):
        raise errors.no_gradient_checkpointing(str(config.model_type))


def create_encoder(config: PretrainedConfig, with_pooler: bool = True) -> PreTrainedModel:
    """Return an encoder with random weights in float32, and with the pooler of its family if it is used.

    When it trains with attention dropout on a CPU, it uses the eager attention implementation instead of torch's
    scaled_dot_product_attention: torch has no fused CPU kernel with dropout, and its fallback is slower. Both compute
    the same function with the same random numbers; results differ by rounding.
    """
    if getattr(config, "attention_type", None) == "block_sparse":
        config.attention_type = "original_full"  # BigBird switches permanently at its first short chunk
    if config.architectures is None:
        config.architectures = []  # AutoModel iterates over it for families with several models
    # The configuration may state what another program needed: a tuple, or more than the last features.
    config.update({"return_dict": True, "output_hidden_states": False, "output_attentions": False})
    config.torchscript = False
    backbone: PreTrainedModel = _auto_class(config).from_config(config, trust_remote_code=False).float()
    if not with_pooler and isinstance(getattr(backbone, "pooler", None), nn.Module):
        backbone.pooler = _NoPooler()
    can_switch = hasattr(backbone, "set_attn_implementation")  # since transformers 4.52
    has_dropout = any(getattr(backbone.config, key, 0) for key in ATTENTION_DROPOUT_KEYS)
    if can_switch and has_dropout and backbone.config._attn_implementation == "sdpa":
        backbone.register_forward_pre_hook(_choose_attention)
    return backbone


def _auto_class(config: PretrainedConfig) -> Any:
    """Return transformers' loader of an encoder, and of the encoder alone for an encoder-decoder model."""
    return AutoModelForTextEncoding if config.is_encoder_decoder else AutoModel


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


def check_layers(config: PretrainedConfig, count: int) -> None:
    """Check that an encoder has layers with weights of their own if `count` of them start from random weights.

    Raises:
        errors.SettingError: the layers share their weights; names `reinit_layers`.
    """
    if count > 0:
        with torch.device("meta"):
            last_layer_prefixes(create_encoder(config), count)


def create_encoder_without_storage(config: PretrainedConfig, with_pooler: bool) -> PreTrainedModel | None:
    """Return an encoder that has shapes but no values; None if its family cannot be built so."""
    try:
        with torch.device("meta"):
            return create_encoder(config, with_pooler)
    except Exception as cause:  # noqa: BLE001 - the probe of the encoder reports real errors
        log.debug("The shapes of the encoder are not known: %s", cause)
        return None


def load_weights(backbone: PreTrainedModel, name: str, skip_prefixes: tuple[str, ...] = ()) -> None:
    """Load the pretrained weights of a name or folder in float32, except for parameters with these prefixes.

    The weights may be those of a model with a head, such as one for masked language modeling, which is not used.

    Raises:
        errors.SettingError: weights are missing, damaged, quantized, not finite or of other shapes; names
            `encoder_name`, or `pooling` for a pooler's.
    """
    if sys.stderr is None or not sys.stderr.isatty():  # None: the process was started without it
        disable_progress_bar()  # type: ignore[no-untyped-call]  # in a log file it becomes one very long line
    source = PretrainedSource("encoder_name", name)
    weights, report = _load_all_weights(backbone, source, skip_prefixes)
    names = backbone.state_dict()
    missing = {*names} - ({*weights} - {*report["missing_keys"]})
    if missing := {key for key in missing if not key.startswith(skip_prefixes)}:
        if all(key.startswith("pooler.") for key in missing):
            raise errors.no_pooler_weights(name)
        raise errors.missing_weights("encoder_name", name, sorted(missing), sorted(report["unexpected_keys"]))
    used = {key: value for key, value in weights.items() if key in names and not key.startswith(skip_prefixes)}
    for key, value in used.items():
        if value.shape != names[key].shape:
            shapes = value.shape, names[key].shape
            raise weights_do_not_fit(source.setting, source.name, key, shapes, "encoder_config")
    parameters = {key for key, _ in backbone.named_parameters()}  # a buffer may hold infinity, as masks do
    if nonfinite := sorted(key for key in used if key in parameters and not used[key].isfinite().all()):
        raise nonfinite_weights(source.setting, source.name, find_pretrained(source), nonfinite)
    backbone.load_state_dict(used, strict=False)
    if unused := sorted(report["unexpected_keys"]):
        log.info("'%s' has weights that the encoder does not use: %s", name, list_names(unused))


def _load_all_weights(
    backbone: PreTrainedModel, source: PretrainedSource, skip_prefixes: tuple[str, ...]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return all weights of a pretrained model in float32, and the report of transformers about them.

    Raises:
        errors.SettingError: weights that are used are damaged, quantized or of other shapes than config.json states.
    """
    location = find_pretrained(source)
    check_no_adapter(source, location)
    try:
        with _quiet_transformers():
            config = AutoConfig.from_pretrained(location, trust_remote_code=False)
            config._attn_implementation = "eager"  # the weights are the same, and that of config.json may be absent
            # Mismatched shapes are reported below: the library's error refers to its log.
            loaded, report = _auto_class(backbone.config).from_pretrained(
                location, config=config, trust_remote_code=False, output_loading_info=True, ignore_mismatched_sizes=True
            )
    except Exception as cause:  # safetensors, torch and transformers have no common class of errors
        check_layouts(backbone, source, location, "config.json", skip_prefixes)  # some versions refuse quantized ones
        raise errors.damaged_weights(source.setting, source.name, location, cause) from cause
    names, used = loaded.state_dict(), backbone.state_dict()
    for key, found, expected in sorted(report["mismatched_keys"]):
        name = remove_base_name(backbone, key, names)
        is_unused = name in names and name not in used
        if not is_unused and not name.startswith(skip_prefixes):
            raise weights_do_not_fit(source.setting, source.name, name, (found, expected), "config.json")
    check_layouts(backbone, source, location, "encoder_config", skip_prefixes)
    return dict(loaded.float().state_dict()), report


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """Turn off the report of transformers about weights, which `load_weights` reports itself."""
    level = get_verbosity()
    set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        set_verbosity(level)


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
