"""ROC and precision-recall curves of one class against the rest, small enough to be stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

CURVE_POINTS = 101
"""Points of a stored curve, at most."""
CURVE_CLASSES = 20
"""Classes whose curves are stored, the most frequent first: a file of metrics stays readable with many classes."""


@dataclass(frozen=True)
class Roc:
    """False and true positive rate from (0, 0) to (1, 1); the first threshold is None: above every score."""

    fpr: list[float]
    tpr: list[float]
    threshold: list[float | None]


@dataclass(frozen=True)
class PrecisionRecall:
    """From recall 1 to the point (recall 0, precision 1), whose threshold is None: above every score."""

    precision: list[float]
    recall: list[float]
    threshold: list[float | None]


@dataclass(frozen=True)
class Counts:
    """What each threshold 0.00, 0.01, ... 1.00 would decide, where a score not below it is positive."""

    threshold: list[float]
    true_positives: list[int]
    false_positives: list[int]
    true_negatives: list[int]
    false_negatives: list[int]


@dataclass(frozen=True)
class Curves:
    """What one class against the rest looks like at every threshold."""

    roc: Roc
    precision_recall: PrecisionRecall
    counts: Counts


def curves(positive: NDArray[np.bool_], score: NDArray[np.floating], points: int = CURVE_POINTS) -> Curves | None:
    """The curves of one class, at most `points` points each; None where all rows are positive, or none is.

    Args:
        positive: whether a row is of the class [rows].
        score: the class's probability [rows].
        points: at least 2; the ends are always kept, the others stand evenly along the curve's length.
    """
    if not positive.any() or positive.all():
        return None
    score64: NDArray[np.float64] = score.astype(np.float64)
    fpr, tpr, threshold = roc_curve(positive, score64, drop_intermediate=True)
    kept = thin(fpr, tpr, points)
    roc = Roc(fpr[kept].tolist(), tpr[kept].tolist(), [None, *threshold[kept][1:].tolist()])
    precision, recall, threshold = precision_recall_curve(positive, score64, drop_intermediate=True)
    kept = thin(recall, precision, points)
    pr = PrecisionRecall(precision[kept].tolist(), recall[kept].tolist(), [*threshold[kept[:-1]].tolist(), None])
    return Curves(roc, pr, threshold_counts(positive, score64))


def threshold_counts(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> Counts:
    """True and false positives and negatives at 101 thresholds; `positive` and `score` are [rows]."""
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


def thin(x: NDArray[np.float64], y: NDArray[np.float64], points: int) -> NDArray[np.int64]:
    """Indices of at most `points` points, both ends among them, evenly spaced along the curve (city-block length)."""
    if len(x) <= points:
        return np.arange(len(x))
    covered_distance = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, covered_distance[-1], points)
    kept = np.searchsorted(covered_distance, wanted)
    kept[-1] = len(x) - 1
    return np.unique(kept)
