"""The whole plugin contract on one screen.

A plugin is a module (or object) named by an entry point. In the group `fusionzoo.models` it provides
`settings_class` and `build_model`; in `fusionzoo.text_encoders`, `settings_class` and `build_text_encoder`.
Entry points of both groups may name the same distribution, each its own module or object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import nn

    from fusionzoo.nn.schema import InputSpec
    from fusionzoo.settings import ModelSettings

hookspec = pluggy.HookspecMarker("fusionzoo")


@hookspec(firstresult=True)
def settings_class() -> type[ModelSettings]:  # type: ignore[empty-body]
    """The hyperparameters this plugin accepts: a pydantic model, each field described and bounded."""


@hookspec(firstresult=True)
def build_model(spec: InputSpec, settings: ModelSettings, text_encoder: nn.Module | None) -> nn.Module:  # type: ignore[empty-body]
    """Models: a module whose forward(batch) returns logits [rows, classes], or a ModelOutput."""


@hookspec(firstresult=True)
def build_text_encoder(spec: InputSpec, settings: ModelSettings) -> nn.Module:  # type: ignore[empty-body]
    """Text encoders: a module with `.dim` whose forward(batch) returns TextFeatures; reads no file, no network."""


@hookspec(firstresult=True)
def load_pretrained(text_encoder: nn.Module, settings: ModelSettings) -> bool:  # type: ignore[empty-body]
    """Optional, encoders: put pretrained weights in place, once, when a training starts anew; True if it did."""


@hookspec(firstresult=True)
def parameter_groups(model: nn.Module, settings: ModelSettings) -> Sequence[dict[str, Any]]:  # type: ignore[empty-body]
    """Optional: groups {"params": [...], "lr_scale": 0.1, "weight_decay": 0.0}; what they leave out, core groups."""


@hookspec(firstresult=True)
def callbacks(settings: ModelSettings) -> Sequence[Callback]:  # type: ignore[empty-body]
    """Optional: Lightning callbacks for the time of training, for example to log expert load."""
