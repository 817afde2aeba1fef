"""From hyperparameters.json to the settings of a job: read, decode, translate old names, parse, check, resolve."""

from fusionzoo.hyperparameters.parsing import (
    Hyperparameters,
    PluginSettings,
    find_core_problems,
    parse_hyperparameters,
    parse_model_class,
    parse_task,
    parse_text_encoder,
)
from fusionzoo.hyperparameters.pretrained_channel import locate_pretrained_models
from fusionzoo.hyperparameters.reading import read_hyperparameters
from fusionzoo.hyperparameters.resolving import resolve_hyperparameters

__all__ = [
    "Hyperparameters",
    "PluginSettings",
    "find_core_problems",
    "locate_pretrained_models",
    "parse_hyperparameters",
    "parse_model_class",
    "parse_task",
    "parse_text_encoder",
    "read_hyperparameters",
    "resolve_hyperparameters",
]
