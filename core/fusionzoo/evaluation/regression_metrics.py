"""The metrics of a regression. A metric that is undefined for the rows is None, never a default number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    median_absolute_error,
    r2_score,
)

from fusionzoo import errors
from fusionzoo.evaluation.metric_directions import REGRESSION_METRICS
from fusionzoo.evaluation.split_evaluation import Metrics
from fusionzoo.evaluation.undefined_metrics import mean_of_all

MAX_ROUNDING = 1e-14  # of a metric that is computed from float64 numbers near 1


def regression_metrics(y_true: NDArray[np.floating], predicted: NDArray[np.floating]) -> Metrics:
    """Compute the metrics named in `REGRESSION_METRICS`, each the unweighted mean over the columns.

    - `rmse`, `mae`, `median_absolute_error`: in the units of the data. None without rows.
    - `r2`: 1 - residual / total sum of squares. None if a column is constant, or for fewer than two rows.
    - `mape`: the mean of |error / y|, as a fraction. None if a value is 0.
    - `spearman`: the rank correlation. None if labels or predictions are constant, or for fewer than two rows.

    Args:
        y_true: [rows, columns].
        predicted: [rows, columns].

    Raises:
        errors.ScoresError: a ValueError; the shapes differ, or a value is not finite.
    """
    check_numbers(y_true, predicted)
    columns = [column_metrics(y_true[:, k], predicted[:, k]) for k in range(y_true.shape[1])]
    return {name: mean_of_all(column[name] for column in columns) for name in REGRESSION_METRICS}


def column_metrics(y_true: NDArray[np.floating], predicted: NDArray[np.floating]) -> Metrics:
    """Compute the metrics of one column, [rows] each."""
    if not len(y_true):
        return dict.fromkeys(REGRESSION_METRICS)
    true, scores = y_true.astype(np.float64), predicted.astype(np.float64)
    varies = np.ptp(true) > 0
    return {
        "rmse": float(np.sqrt(mean_squared_error(true, scores))),
        "mae": float(mean_absolute_error(true, scores)),
        "r2": drop_rounding(float(r2_score(true, scores))) if varies else None,
        "median_absolute_error": float(median_absolute_error(true, scores)),
        "mape": float(mean_absolute_percentage_error(true, scores)) if true.all() else None,
        "spearman": (
            drop_rounding(float(spearmanr(true, scores).statistic)) if varies and np.ptp(scores) > 0 else None
        ),
    }


def drop_rounding(value: float) -> float:
    """Return 0 for a difference or quotient of floats near 1 that only their rounding separates from 0."""
    return 0.0 if abs(value) < MAX_ROUNDING else value


def check_numbers(y_true: NDArray[np.floating], predicted: NDArray[np.floating]) -> None:
    """Raise errors.ScoresError unless both are finite numbers [rows, columns] of the same shape."""
    if y_true.ndim != 2 or y_true.shape != predicted.shape:
        raise errors.ScoresError.number_shapes(y_true.shape, predicted.shape)
    nonfinite = np.flatnonzero(~(np.isfinite(y_true) & np.isfinite(predicted)).all(axis=1))
    if len(nonfinite):
        raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
