"""The evaluation of one split of a multilabel classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.evaluation.calibration import Calibration
from fusionzoo.evaluation.curves import MAX_CURVE_CLASSES, Curves, compute_curves, order_by_frequency
from fusionzoo.evaluation.multilabel_metrics import multilabel_metrics, per_label_metrics
from fusionzoo.evaluation.probability_evaluation import ProbabilityEvaluation
from fusionzoo.evaluation.split_evaluation import ScoredSplit


@dataclass(frozen=True, kw_only=True)
class MultilabelEvaluation(ProbabilityEvaluation):
    """All metrics of one split of a multilabel classification.

    Attributes:
        labels: the texts of the labels in the order of the outputs.
        micro: the curves of all pairs of a row and a label together; None if all labels are equal.
    """

    labels: list[str]
    per_label: dict[str, dict[str, int | float | None]]
    micro: Curves | None

    def by_frequency(self) -> list[int]:
        """Return the labels that apply to rows, most frequent first."""
        return order_by_frequency((self.scored.labels == 1).sum(axis=0))

    def as_json(self) -> dict[str, Any]:
        micro = None if self.micro is None else asdict(self.micro)
        return {**super().as_json(), "per_label": self.per_label, "micro_curves": micro}


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
    outcome, probability = (y_true == 1).reshape(-1), probabilities.reshape(-1)
    evaluation = MultilabelEvaluation(
        name=name,
        scored=scored,
        labels=list(per_label),
        metrics=metrics,
        calibration=Calibration.measure("labels", probability, outcome),
        per_label=per_label,
        micro=compute_curves(outcome, probability),
        curves={},
        heading=heading,
    )
    for k in evaluation.by_frequency()[:MAX_CURVE_CLASSES]:
        label_curves = compute_curves(y_true[:, k] == 1, probabilities[:, k])
        if label_curves is not None:
            evaluation.curves[evaluation.labels[k]] = label_curves
    return evaluation
