"""Settings classes, and functions that parse hyperparameters with them instead of installed plugins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from pydantic import Field

from fusionzoo.errors import HyperparametersError
from fusionzoo.hyperparameters import (
    Hyperparameters,
    PluginSettings,
    find_core_problems,
    parse_hyperparameters,
    parse_model_class,
    parse_text_encoder,
    resolve_hyperparameters,
)
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings


class Encoder(ModelSettings):
    needs = reads = frozenset({"text"})
    default_tokenizer = "their-tokenizer"
    reinit_layers: int = Field(0, ge=0, le=12)
    warm: bool = False


class Fusion(FusionSettings):
    gate: float = Field(0.5, ge=0, le=1)


class TableOrText(Fusion):
    needs = frozenset()


class TextOnly(FusionSettings):
    needs = reads = frozenset({"text"})


REQUIRED: dict[str, Any] = {
    "model_class": "multimodal_bert",
    "id_name": "id",
    "text_name": "text_field",
    "label_name": "target",
    "num_classes": 2,
    "tab_field_list": ["feature1", "feature2"],
}
CONTRACT: dict[str, Any] = {
    **REQUIRED,
    "is_binary": True,
    "tab_field_list": ["feature1", "feature2", "feature3"],
    "cat_field_list": ["category1", "category2"],
    "tokenizer": "bert-base-uncased",
    "max_sen_len": 512,
    "max_total_chunks": 10,
    "batch_size": 32,
    "max_epochs": 10,
    "lr": 2e-5,
    "optimizer": "adamw",
    "early_stop_patience": 3,
    "warmup_steps": 1000,
    "hidden_common_dim": 256,
    "class_weights": [1.0, 2.0],
    "fp16": True,
    "gradient_clip_val": 1.0,
    "reinit_layers": 2,
}


def encode_v2(values: dict[str, Any]) -> dict[str, str]:
    return {key: json.dumps(value) for key, value in values.items()}


def encode_v3(values: dict[str, Any]) -> dict[str, str]:
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def parse(raw: Mapping[str, Any], model: type[ModelSettings] = Fusion) -> Hyperparameters:
    return parse_with_classes(raw, model, Encoder)


def parse_changed(model: type[ModelSettings] = Fusion, /, **changes: Any) -> Hyperparameters:
    """Parse the required settings with changes; `...` removes a setting."""
    return parse({key: value for key, value in {**REQUIRED, **changes}.items() if value is not ...}, model)


def parse_error(model: type[ModelSettings] = Fusion, /, **changes: Any) -> str:
    with pytest.raises(HyperparametersError) as error:
        parse_changed(model, **changes)
    return str(error.value)


def parse_with_classes(
    raw: Mapping[str, Any], model: type[ModelSettings], encoder: type[ModelSettings] = ModelSettings
) -> Hyperparameters:
    """Parse and resolve as `choose_architecture` does, but with these settings classes.

    Raises:
        fusionzoo.errors.HyperparametersError: all problems of the settings together.
    """
    model_class = parse_model_class(raw)
    if model_class is None:
        raise HyperparametersError(find_core_problems(raw))
    model_settings = PluginSettings(model_class, model)
    text_encoder = parse_text_encoder(raw, model_settings)
    encoder_settings = None if text_encoder is None else PluginSettings(text_encoder, encoder)
    parsed = parse_hyperparameters(raw, model_settings, encoder_settings)
    return resolve_hyperparameters(parsed, call_resolve, call_resolve)


def call_resolve(settings: ModelSettings, job: JobSettings) -> ModelSettings:
    return settings.resolve(job)
