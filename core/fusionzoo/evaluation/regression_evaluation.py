"""The evaluation of one split of a regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.evaluation.regression_metrics import column_metrics, regression_metrics
from fusionzoo.evaluation.split_evaluation import Metrics, SplitEvaluation


@dataclass(frozen=True)
class RegressionEvaluation(SplitEvaluation):
    """All metrics of one split of a regression.

    `quantiles` is, by column and quantile, the share of labels at or below the prediction. `heading` is the first line
    of its plots: the model and what it predicts.
    """

    calibrated_metrics = ("rmse", "mae", "r2")
    name: str
    y_true: NDArray[np.floating]  # [rows, columns]
    predicted: NDArray[np.floating]  # [rows, columns]
    targets: Sequence[str]
    metrics: Metrics
    per_target: dict[str, Metrics]
    quantiles: dict[str, dict[str, float]] = field(default_factory=dict)
    heading: str = ""

    @property
    def rows(self) -> int:
        return len(self.y_true)

    def as_json(self) -> dict[str, Any]:
        content = {"rows": self.rows, "metrics": self.metrics, "per_target": self.per_target}
        return {**content, "quantiles": self.quantiles} if self.quantiles else content


def evaluate_regression_split(
    name: str,
    y_true: NDArray[np.floating],
    predicted: NDArray[np.floating],
    targets: Sequence[str],
    heading: str = "",
) -> RegressionEvaluation:
    """Evaluate one split.

    Args:
        name: the name of the split.
        y_true: [rows, columns].
        predicted: [rows, columns].
        targets: the names of the columns.
        heading: the first line of its plots.

    Raises:
        errors.ScoresError: see `regression_metrics`.
    """
    metrics = regression_metrics(y_true, predicted)
    per_target = {target: column_metrics(y_true[:, k], predicted[:, k]) for k, target in enumerate(targets)}
    return RegressionEvaluation(name, y_true, predicted, targets, metrics, per_target, heading=heading)
