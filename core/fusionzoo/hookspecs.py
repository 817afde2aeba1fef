"""All hooks that a plugin can implement.

A plugin is a module, or an object, that an entry point names. Decorate each hook with `@fusionzoo.hookimpl`. A hook may
declare fewer arguments than listed here.

Entry points in `fusionzoo.models` implement `settings_class` and `build_model`. Entry points in
`fusionzoo.text_encoders` implement `settings_class` and `build_text_encoder`. The other hooks are optional. A hook that
is called for the other group only is an error. One distribution may provide entry points of both groups, each with its
own module or object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    import numpy as np
    from lightning.pytorch import Callback
    from torch import nn

    from fusionzoo.nn.schema import InputSpec
    from fusionzoo.settings import ModelSettings

hookspec = pluggy.HookspecMarker("fusionzoo")


@dataclass(frozen=True)
class PluginMetric:
    """A metric that a plugin adds to those of fusionzoo.

    Attributes:
        name: in snake_case; users write `early_stop_metric: val/NAME`.
        function: called with the labels and the scores of the labeled rows of a split, at least one; returns a finite
            number, or None if these rows do not define the metric. It may not change the arrays.
        greater_is_better: whether a larger value is better.
        description: what it measures, for `fusionzoo show`.
        tasks: the tasks for which it is computed.

    Labels and scores by task:
        classification: class indices [rows] int64, and probabilities [rows, classes] float32.
        multilabel: 0 or 1 for each label [rows, labels] int8, and probabilities [rows, labels] float32.
        regression: numbers [rows, columns] float64, and predicted numbers [rows, columns * quantiles] float32.
    """

    name: str
    function: Callable[[np.ndarray, np.ndarray], float | None]
    greater_is_better: bool
    description: str
    tasks: frozenset[str] = frozenset({"classification"})


@hookspec(firstresult=True)
def settings_class() -> type[ModelSettings]:  # type: ignore[empty-body]
    """Return the settings class: a pydantic model whose fields have descriptions and bounds."""


@hookspec(firstresult=True)
def build_model(spec: InputSpec, settings: ModelSettings, text_encoder: nn.Module | None) -> nn.Module:  # type: ignore[empty-body]
    """Models: return a module whose forward(batch) returns logits [rows, classes], or a ModelOutput."""


@hookspec(firstresult=True)
def build_text_encoder(spec: InputSpec, settings: ModelSettings) -> nn.Module:  # type: ignore[empty-body]
    """Text encoders: return a module with `dim` whose forward(batch) returns TextFeatures. Read no file or network."""


@hookspec(firstresult=True)
def load_pretrained(text_encoder: nn.Module, settings: ModelSettings) -> bool:  # type: ignore[empty-body]
    """Text encoders, optional: load pretrained weights when a new training starts. Return whether any were loaded."""


@hookspec(firstresult=True)
def add_adapters(text_encoder: nn.Module, settings: ModelSettings) -> None:
    """Text encoders, optional: freeze the loaded weights, and add new ones that are trained instead."""


@hookspec(firstresult=True)
def merge_adapters(text_encoder: nn.Module, settings: ModelSettings) -> None:
    """Text encoders, with add_adapters: merge what it added, so that the encoder has its own tensors again."""


@hookspec(firstresult=True)
def parameter_groups(model: nn.Module, settings: ModelSettings) -> Sequence[dict[str, Any]]:  # type: ignore[empty-body]
    """Models, optional: return groups {"params": [...], "lr_scale": 0.1, "weight_decay": 0.0}. Core groups the rest."""


@hookspec(firstresult=True)
def callbacks(settings: ModelSettings) -> Sequence[Callback]:  # type: ignore[empty-body]
    """Models, optional: return Lightning callbacks for training, for example to log the load of experts."""


@hookspec(firstresult=True)
def metrics() -> Sequence[PluginMetric]:  # type: ignore[empty-body]
    """Optional: return metrics that every job with this plugin computes, in addition to those of fusionzoo."""
