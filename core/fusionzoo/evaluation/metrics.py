"""The metrics of a classification: ranking, decisions and calibration of the probabilities.

A metric that is undefined for the rows (no rows, or one class only) is None, never a default number.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fusionzoo import errors
from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.evaluation.label_decision import predict_classes
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.evaluation.split_evaluation import Metrics
from fusionzoo.evaluation.undefined_metrics import divide, mean_of_all

SUM_TOLERANCE = 1e-3


def classification_metrics(
    y_true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    is_ordered: bool = False,
    rule: DecisionRule | None = None,
) -> Metrics:
    """Compute the metrics named in `CLASSIFICATION_METRICS`.

    - `auroc`, `average_precision`: of class 1 if there are two classes; otherwise one-vs-rest, the unweighted mean
      over the classes in `y_true`. None if `y_true` has only one class.
    - `f1_score`: of the predicted class (see `predict_classes`); of class 1, or the unweighted mean over the classes
      in `y_true`. None if class 1 is neither in `y_true` nor predicted.
    - `accuracy`: fraction of correct rows. `balanced_accuracy`: unweighted mean of the recall of classes in `y_true`.
    - `matthews_corrcoef`: Gorodkin 2004 for more than two classes; 0 if all predictions are the same class, None if
      `y_true` has only one class.
    - `quadratic_kappa`: Cohen's kappa weighted by the squared distance of the class indices (Cohen 1968). None if
      `y_true` has only one class, or for more than two classes without an order.
    - `log_loss`: natural logarithm, rows normalized in float64, probabilities clipped at 2.2e-16.
    - `brier_score`: mean of (p - y)^2 of class 1; for more classes the sum over them (Brier 1950: 0 to 2). These are
      scikit-learn's conventions (`brier_score_loss`, scale_by_half="auto").

    Args:
        y_true: class indices [rows], integers.
        probabilities: [rows, classes]; each row sums to 1 within 1e-3.
        is_ordered: whether the order of the class indices has a meaning.
        rule: how classes are predicted; by default the most probable one.

    Raises:
        errors.ScoresError: a ValueError; the shapes, indices or probabilities are invalid.
    """
    check_scores(y_true, probabilities)
    if not len(y_true):
        return dict.fromkeys(CLASSIFICATION_METRICS)
    predictions = predict_classes(probabilities, rule)
    support, predicted, hits = _counts(y_true, predictions, probabilities.shape[1])
    auroc, average_precision = _average_ranking(y_true, probabilities, support)
    is_binary = probabilities.shape[1] == 2
    f1_of_classes = [divide(2 * hits[k], support[k] + predicted[k]) for k in np.flatnonzero(support)]
    f1_score = divide(2 * hits[1], support[1] + predicted[1]) if is_binary else mean_of_all(f1_of_classes)
    return {
        "auroc": auroc,
        "average_precision": average_precision,
        "f1_score": f1_score,
        "accuracy": float(hits.sum() / len(y_true)),
        "balanced_accuracy": float((hits[support > 0] / support[support > 0]).mean()),
        "matthews_corrcoef": _matthews_corrcoef(support, predicted, hits),
        "quadratic_kappa": _quadratic_kappa(y_true, predictions) if is_ordered or is_binary else None,
        **_proper_scores(y_true, probabilities),
    }


def per_class_metrics(
    y_true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    classes: Sequence[Label],
    rule: DecisionRule | None = None,
) -> dict[str, dict[str, int | float | None]]:
    """Compute the metrics of each class against the rest.

    They are `support` (rows), `precision`, `recall`, `f1`, `auroc` and `average_precision`, with the decisions of
    `classification_metrics`. None if undefined: precision of a class that is never predicted, recall of a class without
    rows, ranking metrics of a class with no rows or all rows.

    Args:
        y_true: class indices [rows], integers.
        probabilities: [rows, classes].
        classes: the labels in the order of the class indices; the keys are their texts.
        rule: how classes are predicted.

    Raises:
        errors.ScoresError: as `classification_metrics`, or the number of `classes` differs, or two have the same text.
    """
    check_scores(y_true, probabilities)
    names = class_names(classes, probabilities.shape[1])
    support, predicted, hits = _counts(y_true, predict_classes(probabilities, rule), len(names))
    metrics: dict[str, dict[str, int | float | None]] = {}
    for k, name in enumerate(names):
        auroc, average_precision = rank_scores(y_true == k, probabilities[:, k]) if support[k] else (None, None)
        metrics[name] = {
            "support": int(support[k]),
            "precision": divide(hits[k], predicted[k]),
            "recall": divide(hits[k], support[k]),
            "f1": divide(2 * hits[k], support[k] + predicted[k]),
            "auroc": auroc,
            "average_precision": average_precision,
        }
    return metrics


def confusion_matrix(
    y_true: NDArray[np.integer], probabilities: NDArray[np.floating], rule: DecisionRule | None = None
) -> NDArray[np.int64]:
    """Count rows, [true class, predicted class] int64."""
    classes = probabilities.shape[1]
    cells = y_true.astype(np.int64) * classes + predict_classes(probabilities, rule)
    return np.bincount(cells, minlength=classes * classes).reshape(classes, classes)


def class_names(classes: Sequence[Label], count: int) -> list[str]:
    """Return the texts of the labels.

    Raises:
        errors.ScoresError: there are not `count` labels, or two have the same text.
    """
    names = [str(label) for label in classes]
    if len(names) != count:
        raise errors.ScoresError.wrong_class_count(len(names), count)
    if len(set(names)) < count:
        raise errors.ScoresError.duplicate_class([name for k, name in enumerate(names) if name in names[:k]])
    return names


def check_scores(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> None:
    """Raise errors.ScoresError (a ValueError) unless these are class indices [rows] and probabilities [rows, classes].

    Probabilities must be finite, from 0 to 1, and sum to 1 in each row within 1e-3.
    """
    if y_true.ndim != 1 or probabilities.ndim != 2 or len(y_true) != len(probabilities) or probabilities.shape[1] < 2:
        raise errors.ScoresError.shapes(y_true.shape, probabilities.shape)
    if y_true.dtype.kind not in "iu" or probabilities.dtype.kind != "f":
        raise errors.ScoresError.types(y_true.dtype, probabilities.dtype)
    outside = np.flatnonzero((y_true < 0) | (y_true >= probabilities.shape[1]))
    if len(outside):
        raise errors.ScoresError.unknown_class(int(outside[0]), int(y_true[outside[0]]), probabilities.shape[1])
    nonfinite = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(nonfinite):
        raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
    total = probabilities.sum(axis=1, dtype=np.float64)
    wrong = np.flatnonzero((np.abs(total - 1) > SUM_TOLERANCE) | (probabilities < 0).any(axis=1))
    if len(wrong):
        raise errors.ScoresError.not_probabilities(int(wrong[0]), probabilities[wrong[0]].tolist(), len(wrong))


def _counts(
    y_true: NDArray[np.integer], predicted: NDArray[np.int64], classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return per class [classes]: its rows, the rows predicted as it, and the rows that are both."""
    return (
        np.bincount(y_true, minlength=classes),
        np.bincount(predicted, minlength=classes),
        np.bincount(y_true[y_true == predicted], minlength=classes),
    )


def _average_ranking(
    y_true: NDArray[np.integer], probabilities: NDArray[np.floating], support: NDArray[np.int64]
) -> tuple[float | None, float | None]:
    """Return AUROC and average precision of class 1 of two, or the mean over the classes with rows."""
    if len(support) == 2:
        return rank_scores(y_true == 1, probabilities[:, 1])
    rankings = [rank_scores(y_true == k, probabilities[:, k]) for k in np.flatnonzero(support)]
    auroc, average_precision = (mean_of_all(metrics) for metrics in zip(*rankings, strict=True))
    return auroc, average_precision


def rank_scores(positive: NDArray[np.bool_], score: NDArray[np.floating]) -> tuple[float | None, float | None]:
    """Return AUROC and average precision of scores [rows]; None if all rows are positive, or none."""
    if not positive.any() or positive.all():
        return None, None
    score = score.astype(np.float64)
    return float(roc_auc_score(positive, score)), float(average_precision_score(positive, score))


def row_log_losses(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log-loss of each row, [rows] float64; `log_loss` is their mean."""
    losses: NDArray[np.float64] = -np.log(np.clip(_true_probability(y_true, probabilities), np.finfo(float).eps, 1))
    return losses


def _true_probability(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    true = probabilities[np.arange(len(y_true)), y_true].astype(np.float64)
    share: NDArray[np.float64] = true / probabilities.sum(axis=1, dtype=np.float64)
    return share


def _proper_scores(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> dict[str, float]:
    """Return log-loss and Brier score of rows normalized in float64."""
    total = probabilities.sum(axis=1, dtype=np.float64)
    true_probability = _true_probability(y_true, probabilities)
    log_loss = row_log_losses(y_true, probabilities).mean()
    brier = (1 - true_probability) ** 2
    if probabilities.shape[1] > 2:
        squares = np.einsum("ij,ij->i", probabilities, probabilities, dtype=np.float64) / total**2
        brier += np.maximum(squares - true_probability**2, 0)
    return {"log_loss": abs(float(log_loss)), "brier_score": float(brier.mean())}


def _matthews_corrcoef(
    support: NDArray[np.int64], predicted: NDArray[np.int64], hits: NDArray[np.int64]
) -> float | None:
    """Return the correlation from counts per class [classes]; the counts of pairs of rows are exact integers.

    scikit-learn's function needs a table of all pairs of classes: see docs/decisions/agreement-from-counts.md.
    """
    rows = int(support.sum())
    true_pairs, predicted_pairs = (rows**2 - sum(int(n) ** 2 for n in counts) for counts in (support, predicted))
    if not true_pairs or not predicted_pairs:
        return 0.0 if true_pairs else None
    covariance = int(hits.sum()) * rows - sum(int(t) * int(p) for t, p in zip(support, predicted, strict=True))
    return covariance / math.sqrt(true_pairs * predicted_pairs)


def _quadratic_kappa(y_true: NDArray[np.integer], predictions: NDArray[np.int64]) -> float | None:
    """Return 1 - the mean squared distance of the true and the predicted index / the one that chance would give.

    It is twice the covariance of the indices over the distance by chance, both times the squared number of rows: exact
    integers, so that it is 0 if the predictions are no better than chance, and not a rounding error.
    """
    if np.ptp(y_true) == 0:
        return None
    rows, true, predicted = len(y_true), y_true.astype(np.int64), predictions.astype(np.int64)
    true_sum, predicted_sum, product = int(true.sum()), int(predicted.sum()), int((true * predicted).sum())
    squares = int((true**2).sum()) + int((predicted**2).sum())
    return 2 * (rows * product - true_sum * predicted_sum) / (rows * squares - 2 * true_sum * predicted_sum)
