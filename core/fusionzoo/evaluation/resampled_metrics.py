"""Metrics of resamples of the same rows: each row is prepared once, and a resample says how often it has the row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fusionzoo.evaluation.undefined_metrics import mean_of_defined

ResampledMetric = Callable[[NDArray[np.integer]], float | None]
"""Takes how often a resample has each row, [rows]; returns the metric, None if the resample does not define it."""


def resampled_mean(values: NDArray[np.floating], *, is_root: bool = False) -> ResampledMetric:
    """Return the metric that is the mean of values [rows, columns]; with `is_root`, of the roots of column means."""

    def compute(counts: NDArray[np.integer]) -> float | None:
        if not (rows := counts.sum()):
            return None
        means = np.einsum("r,rc->c", counts, values) / rows  # not BLAS, whose threads cost more than they save here
        return float((np.sqrt(means) if is_root else means).mean())

    return compute


def resampled_auroc(is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> ResampledMetric:
    """Return the area under the ROC curve, the mean over the columns that have rows of both kinds in a resample.

    Args:
        is_true: [rows, columns].
        scores: [rows, columns].
    """
    rankings = [_Ranking.sort(is_true[:, k], scores[:, k]) for k in range(scores.shape[1])]

    def compute(counts: NDArray[np.integer]) -> float | None:
        return mean_of_defined(ranking.auroc(counts) for ranking in rankings)

    return compute


@dataclass(frozen=True)
class _Ranking:
    """Rows in ascending order of their scores.

    Attributes:
        order: the rows.
        true: the places of the true rows in this order.
        first: for each of them, the first place with the same score.
        after: for each of them, the first place with a greater score.
    """

    order: NDArray[np.int64]
    true: NDArray[np.int64]
    first: NDArray[np.int64]
    after: NDArray[np.int64]

    @classmethod
    def sort(cls, is_true: NDArray[np.bool_], scores: NDArray[np.floating]) -> _Ranking:
        """Return the ranking of rows, [rows] each."""
        order = np.argsort(scores, kind="stable")
        true, ascending = np.flatnonzero(is_true[order]), scores[order]
        first, after = (np.searchsorted(ascending, ascending[true], side) for side in ("left", "right"))
        return cls(order, true, first, after)

    def auroc(self, counts: NDArray[np.integer]) -> float | None:
        """Return the share of pairs of a true and another row that are in the right order; equal scores count half.

        It is computed from the sum of the middle ranks of the true rows (Mann and Whitney 1947). None without a pair.
        """
        ordered = counts[self.order]
        rows_before = np.concatenate([[0], np.cumsum(ordered)])
        weights = ordered[self.true]
        true = float(weights.sum())
        other = float(rows_before[-1]) - true
        if not true or not other:
            return None
        ranks = (rows_before[self.first] + rows_before[self.after]) / 2
        return float(((weights * ranks).sum() - true * true / 2) / (true * other))
