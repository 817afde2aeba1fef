"""What XGBoost learns for each kind of target: its objective, its labels, and the scores that its outputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.numeric_target import NumericTarget
from fusionzoo.data.targets.target import Target


@dataclass(frozen=True)
class BoostingObjective:
    """How a booster learns a target.

    Attributes:
        parameters: those of XGBoost, with the metric that stops the training.
        encode: turns encoded labels into those of XGBoost, [rows] or [rows, columns].
        decode: turns the outputs of the booster, [rows] or [rows, columns], into scores [rows, outputs].
    """

    parameters: Mapping[str, Any]
    encode: Callable[[np.ndarray], np.ndarray]
    decode: Callable[[np.ndarray], np.ndarray]


def choose_boosting_objective(target: Target) -> BoostingObjective:
    """Return the objective of a target. Of a regression, numbers are learned on the standardized scale."""
    if isinstance(target, NumericTarget):
        return _choose_number_objective(target)
    if not isinstance(target, LabelMap):  # 0 or 1 for each label
        return BoostingObjective({"objective": "binary:logistic", "eval_metric": "logloss"}, _keep, _keep)
    if target.num_outputs == 2:
        return BoostingObjective({"objective": "binary:logistic", "eval_metric": "logloss"}, _keep, _add_other_class)
    softmax = {"objective": "multi:softprob", "eval_metric": "mlogloss", "num_class": target.num_outputs}
    return BoostingObjective(softmax, _keep, _keep)


def _choose_number_objective(target: NumericTarget) -> BoostingObjective:
    parameters: dict[str, Any] = {"objective": "reg:squarederror", "eval_metric": "rmse"}
    if target.quantiles:
        quantiles = list(target.quantiles)
        parameters = {"objective": "reg:quantileerror", "eval_metric": "quantile", "quantile_alpha": quantiles}

    def decode(outputs: np.ndarray) -> np.ndarray:
        return target.restore_units(outputs.reshape(len(outputs), -1))

    return BoostingObjective(parameters, target.standardize, decode)


def _keep(values: np.ndarray) -> np.ndarray:
    return values.astype(np.float32)


def _add_other_class(scores: np.ndarray) -> np.ndarray:
    return np.stack([1 - scores, scores], axis=1)
