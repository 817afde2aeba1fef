"""Tasks and objectives that several tests share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.numeric_target import NumericTarget, TargetScale
from fusionzoo.tasks.class_objective import ClassObjective
from fusionzoo.tasks.classification import Classification
from training_helpers import make_job_settings


def make_classification(classes: Iterable[Any] = (0, 1), name: str = "y") -> Classification:
    """Return the task of predicting one of these classes."""
    return Classification(LabelMap(name, tuple(classes)))


def make_regression_target(*names: str, quantiles: tuple[float, ...] = ()) -> NumericTarget:
    """Return a target of these columns, each with the mean 0.5 and the standard deviation 2."""
    return NumericTarget(tuple(TargetScale(name, 0.5, 2.0) for name in names), quantiles=quantiles)


def make_class_objective(weights: Sequence[float] = (1.0, 1.0), **settings: Any) -> ClassObjective:
    """Return an objective with these class weights."""
    return ClassObjective(make_job_settings(**settings), weights)
