"""ROC and precision-recall curves of one class against the rest, small enough to be stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

MAX_CURVE_POINTS = 101
"""The maximum number of points of a stored curve."""
MAX_CURVE_CLASSES = 20
"""The maximum number of classes with stored curves, the most frequent first: metrics.json must stay readable."""


@dataclass(frozen=True)
class Roc:
    """False and true positive rate from (0, 0) to (1, 1); the first threshold, above every score, is None."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float | None]


@dataclass(frozen=True)
class PrecisionRecall:
    """From recall 1 to the point (recall 0, precision 1). The threshold of that point, above every score, is None."""

    precision: list[float]
    recall: list[float]
    threshold: list[float | None]


@dataclass(frozen=True)
class Counts:
    """The counts at each threshold 0.00, 0.01, ... 1.00; a score equal to or above the threshold is positive."""

    threshold: list[float]
    true_positives: list[int]
    false_positives: list[int]
    true_negatives: list[int]
    false_negatives: list[int]


@dataclass(frozen=True)
class Curves:
    """The curves of one class against the rest."""

    roc: Roc
    precision_recall: PrecisionRecall
    counts: Counts


def compute_curves(
    positive: NDArray[np.bool_], score: NDArray[np.floating], points: int = MAX_CURVE_POINTS
) -> Curves | None:
    """Compute the curves of one class, at most `points` points each. Return None if all rows are positive, or none.

    Args:
        positive: whether a row belongs to the class [rows].
        score: the probability of the class [rows].
        points: at least 2; both ends are kept, the others are evenly spaced along the length of the curve.
    """
    if not positive.any() or positive.all():
        return None
    score64: NDArray[np.float64] = score.astype(np.float64)
    fpr, tpr, threshold = roc_curve(positive, score64, drop_intermediate=True)
    indices = thin_curve(fpr, tpr, points)
    roc = Roc(fpr[indices].tolist(), tpr[indices].tolist(), [None, *threshold[indices][1:].tolist()])
    precision, recall, threshold = precision_recall_curve(positive, score64, drop_intermediate=True)
    indices = thin_curve(recall, precision, points)
    pr = PrecisionRecall(
        precision[indices].tolist(), recall[indices].tolist(), [*threshold[indices[:-1]].tolist(), None]
    )
    return Curves(roc, pr, count_at_thresholds(positive, score64))


def order_by_frequency(support: NDArray[np.integer]) -> list[int]:
    """Return the classes that have rows, most frequent first; equally frequent ones in ascending order.

    `support` is the number of rows of each class, [classes].
    """
    return [int(k) for k in np.argsort(-support, kind="stable") if support[k]]


def count_at_thresholds(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Counts:
    """Count true and false positives and negatives at 101 thresholds; `positive` and `score` are [rows]."""
    threshold = np.linspace(0, 1, 101)
    false_negatives = np.searchsorted(np.sort(score[positive]), threshold, side="left")
    true_negatives = np.searchsorted(np.sort(score[~positive]), threshold, side="left")
    return Counts(
        threshold.tolist(),
        (positive.sum() - false_negatives).tolist(),
        ((~positive).sum() - true_negatives).tolist(),
        true_negatives.tolist(),
        false_negatives.tolist(),
    )


def thin_curve(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Return indices of at most `points` points with both ends, evenly spaced along the curve (city-block length)."""
    if len(x) <= points:
        return np.arange(len(x))
    lengths = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    targets = np.linspace(0, lengths[-1], points)
    indices = np.searchsorted(lengths, targets)
    indices[-1] = len(x) - 1
    return np.unique(indices)
