"""The evaluation of one split of a multilabel classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.evaluation.calibration import BINS, Reliability, compute_reliability, equal_mass_edges
from fusionzoo.evaluation.curves import MAX_CURVE_CLASSES, Counts, Curves, compute_curves
from fusionzoo.evaluation.multilabel_metrics import multilabel_metrics, per_label_metrics
from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit, SplitEvaluation


@dataclass(frozen=True)
class MultilabelEvaluation(SplitEvaluation):
    """All metrics of one split of a multilabel classification.

    Attributes:
        scored: 0 or 1, and probabilities, both [rows, labels].
        labels: the texts of the labels in the order of the outputs.
        equal_width: the reliability of all pairs of a row and a label, in bins of equal width; None without rows.
        equal_mass: the same in bins of equal numbers of pairs.
        micro: the curves of all pairs together; None if all labels are equal.
        curves: the curves of the most frequent labels.
        heading: the first line of its plots: the model and what it predicts.
    """

    name: str
    scored: ScoredSplit
    labels: list[str]
    metrics: Metrics
    per_label: dict[str, dict[str, int | float | None]]
    equal_width: Reliability | None
    equal_mass: Reliability | None
    micro: Curves | None
    curves: dict[str, Curves]
    heading: str = ""

    @property
    def rows(self) -> int:
        return len(self.scored.labels)

    def as_json(self) -> dict[str, Any]:
        bins = {"equal_width": self.equal_width, "equal_mass": self.equal_mass}
        return {
            "rows": self.rows,
            "metrics": self.metrics,
            "per_label": self.per_label,
            "calibration": {"of": "labels", **{name: None if b is None else asdict(b) for name, b in bins.items()}},
            "micro_curves": None if self.micro is None else asdict(self.micro),
            "curves": {name: asdict(label_curves) for name, label_curves in self.curves.items()},
        }

    def scalars(self) -> Metrics:
        bins = {"ece_equal_width": self.equal_width, "ece_equal_mass": self.equal_mass}
        calibration = {name: None if b is None else b.expected_calibration_error for name, b in bins.items()}
        return {**self.metrics, **calibration}

    def curve_counts(self) -> dict[str, Counts]:
        return {name: label_curves.counts for name, label_curves in self.curves.items()}


def evaluate_multilabel_split(
    name: str, scored: ScoredSplit, labels: Sequence[Label], heading: str = "", rule: DecisionRule | None = None
) -> MultilabelEvaluation:
    """Evaluate one split, with curves of the `MAX_CURVE_CLASSES` most frequent labels; `rule` says what is predicted.

    Raises:
        errors.ScoresError: see `multilabel_metrics`.
    """
    y_true, probabilities = scored.labels, scored.scores
    metrics = multilabel_metrics(y_true, probabilities, rule)
    per_label = per_label_metrics(y_true, probabilities, labels, rule)
    outcome, probability = (y_true == 1).reshape(-1), probabilities.reshape(-1).astype(np.float64)
    rows, names, curves = len(y_true), list(per_label), {}
    for k in order_by_frequency(y_true)[:MAX_CURVE_CLASSES]:
        label_curves = compute_curves(y_true[:, k] == 1, probabilities[:, k])
        if label_curves is not None:
            curves[names[k]] = label_curves
    return MultilabelEvaluation(
        name=name,
        scored=scored,
        labels=names,
        metrics=metrics,
        per_label=per_label,
        equal_width=compute_reliability(probability, outcome, np.linspace(0, 1, BINS + 1)) if rows else None,
        equal_mass=compute_reliability(probability, outcome, equal_mass_edges(probability, BINS)) if rows else None,
        micro=compute_curves(outcome, probability),
        curves=curves,
        heading=heading,
    )


def order_by_frequency(y_true: NDArray[np.integer]) -> list[int]:
    """Return the labels that apply to rows, most frequent first; equally frequent ones in ascending order."""
    support = (y_true == 1).sum(axis=0)
    return [int(k) for k in np.argsort(-support, kind="stable") if support[k]]
