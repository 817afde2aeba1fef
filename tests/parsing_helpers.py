"""Parse hyperparameters with given settings classes instead of installed plugins."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from fusionzoo.settings import ModelSettings


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
    return resolve_hyperparameters(parse_hyperparameters(raw, model_settings, encoder_settings))
