"""The metrics of a multilabel classification. A metric that is undefined for the rows is None, never a default number.

A macro average is the unweighted mean over the labels that define the metric; a micro average is the metric of all
pairs of a row and a label together.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.evaluation.label_decision import predict_labels
from fusionzoo.evaluation.metric_directions import MULTILABEL_METRICS
from fusionzoo.evaluation.metrics import class_names, rank_scores
from fusionzoo.evaluation.split_evaluation import Metrics
from fusionzoo.evaluation.undefined_metrics import divide, mean_of_defined


def multilabel_metrics(
    y_true: NDArray[np.integer], probabilities: NDArray[np.floating], rule: DecisionRule | None = None
) -> Metrics:
    """Compute the metrics named in `MULTILABEL_METRICS`.

    - `auroc`, `average_precision`: the mean over the labels that apply to some rows and not to others. None if there
      is no such label.
    - `f1_score`: the mean over the labels that apply to at least one row. None if there is no such label.
    - `auroc_micro`, `average_precision_micro`, `f1_micro`: micro averages over all labels.
    - `accuracy`: the fraction of rows with all labels correct (subset accuracy, as scikit-learn's `accuracy_score`).
    - `hamming_loss`: the fraction of wrong pairs of row and label.
    - `log_loss`: the mean negative logarithm of the probability of the true value of a label, clipped at 2.2e-16.

    Args:
        y_true: 0 or 1 [rows, labels], integers.
        probabilities: [rows, labels].
        rule: how labels are predicted; by default those with a probability above 0.5.

    Raises:
        errors.ScoresError: a ValueError; the shapes, labels or probabilities are invalid.
    """
    check_label_scores(y_true, probabilities)
    rows, labels = probabilities.shape
    if not rows:
        return dict.fromkeys(MULTILABEL_METRICS)
    is_true, is_predicted = y_true == 1, predict_labels(probabilities, rule)
    support, predicted, hits = is_true.sum(axis=0), is_predicted.sum(axis=0), (is_true & is_predicted).sum(axis=0)
    rankings = [rank_scores(is_true[:, k], probabilities[:, k]) for k in range(labels)]
    auroc_micro, average_precision_micro = rank_scores(is_true.reshape(-1), probabilities.reshape(-1))
    f1_of_labels = [2 * hits[k] / (support[k] + predicted[k]) for k in np.flatnonzero(support)]
    return {
        "auroc": mean_of_defined(auroc for auroc, _ in rankings),
        "auroc_micro": auroc_micro,
        "average_precision": mean_of_defined(precision for _, precision in rankings),
        "average_precision_micro": average_precision_micro,
        "f1_score": mean_of_defined(f1_of_labels),
        "f1_micro": divide(2 * hits.sum(), support.sum() + predicted.sum()),
        "accuracy": float((is_true == is_predicted).all(axis=1).mean()),
        "hamming_loss": float((is_true != is_predicted).mean()),
        "log_loss": float(pair_log_losses(is_true, probabilities).mean()),
    }


def per_label_metrics(
    y_true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
    labels: Sequence[Label],
    rule: DecisionRule | None = None,
) -> dict[str, dict[str, int | float | None]]:
    """Compute the metrics of each label.

    They are `support` (rows that it applies to), `predicted` (rows that it is predicted for), `precision`, `recall`,
    `f1`, `auroc` and `average_precision`. None if undefined: precision of a label that is never predicted, recall of a
    label without rows, ranking metrics of a label with no rows or all rows.

    Args:
        y_true: 0 or 1 [rows, labels], integers.
        probabilities: [rows, labels].
        labels: in the order of the columns; the keys are their texts.
        rule: how labels are predicted.

    Raises:
        errors.ScoresError: as `multilabel_metrics`, or the number of `labels` differs, or two have the same text.
    """
    check_label_scores(y_true, probabilities)
    is_true, is_predicted = y_true == 1, predict_labels(probabilities, rule)
    metrics: dict[str, dict[str, int | float | None]] = {}
    for k, name in enumerate(class_names(labels, probabilities.shape[1])):
        support, predicted = int(is_true[:, k].sum()), int(is_predicted[:, k].sum())
        hits = int((is_true[:, k] & is_predicted[:, k]).sum())
        auroc, average_precision = rank_scores(is_true[:, k], probabilities[:, k])
        metrics[name] = {
            "support": support,
            "predicted": predicted,
            "precision": divide(hits, predicted),
            "recall": divide(hits, support),
            "f1": divide(2 * hits, support + predicted),
            "auroc": auroc,
            "average_precision": average_precision,
        }
    return metrics


def pair_log_losses(is_true: NDArray[np.bool_], probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the log-loss of each pair of a row and a label, [rows, labels] float64; `log_loss` is their mean."""
    true_probability = np.where(is_true, probabilities, 1 - probabilities.astype(np.float64))
    losses: NDArray[np.float64] = -np.log(np.clip(true_probability, np.finfo(np.float64).eps, 1))
    return losses


def check_label_scores(y_true: NDArray[np.integer], probabilities: NDArray[np.floating]) -> None:
    """Raise errors.ScoresError unless these are 0 or 1, and finite probabilities, both [rows, labels]."""
    if y_true.ndim != 2 or y_true.shape != probabilities.shape:
        raise errors.ScoresError.label_shapes(y_true.shape, probabilities.shape)
    if y_true.dtype.kind not in "iu" or probabilities.dtype.kind != "f":
        raise errors.ScoresError.types(y_true.dtype, probabilities.dtype)
    not_labels = np.flatnonzero(((y_true != 0) & (y_true != 1)).any(axis=1))
    if len(not_labels):
        raise errors.ScoresError.not_label_values(int(not_labels[0]), len(not_labels))
    nonfinite = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(nonfinite):
        raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
    outside = np.flatnonzero(((probabilities < 0) | (probabilities > 1)).any(axis=1))
    if len(outside):
        values = probabilities[outside[0]].tolist()
        raise errors.ScoresError.outside_unit_interval(int(outside[0]), values, len(outside))
