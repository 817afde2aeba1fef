"""The evaluation of one split of a classification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.evaluation.calibration import compute_calibration
from fusionzoo.evaluation.curves import MAX_CURVE_CLASSES, compute_curves, order_by_frequency
from fusionzoo.evaluation.metrics import (
    class_names,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from fusionzoo.evaluation.probability_evaluation import ProbabilityEvaluation
from fusionzoo.evaluation.split_evaluation import ScoredSplit

MAX_CONFUSION_CLASSES = 1000
"""With more classes there is no confusion matrix: it would be too large to read."""


@dataclass(frozen=True, kw_only=True)
class ClassEvaluation(ProbabilityEvaluation):
    """All metrics of one split of a classification.

    `classes` are the texts of the labels in the order of the class indices. `rule` is how classes are predicted.
    """

    classes: list[str]
    per_class: dict[str, dict[str, int | float | None]]
    confusion: NDArray[np.int64] | None  # [true class, predicted class]
    rule: DecisionRule | None = None

    @property
    def y_true(self) -> NDArray[np.integer]:
        """The class indices [rows]."""
        return self.scored.labels

    @property
    def probabilities(self) -> NDArray[np.floating]:
        """The probabilities [rows, classes]."""
        return self.scored.scores

    def by_frequency(self) -> list[int]:
        """Return the classes that have rows, most frequent first."""
        return order_by_frequency(np.bincount(self.y_true, minlength=len(self.classes)))

    def as_json(self) -> dict[str, Any]:
        confusion = None if self.confusion is None else self.confusion.tolist()
        return {**super().as_json(), "per_class": self.per_class, "confusion_matrix": confusion}


def evaluate_class_split(
    name: str,
    scored: ScoredSplit,
    classes: Sequence[Label],
    heading: str = "",
    is_ordered: bool = False,
    rule: DecisionRule | None = None,
) -> ClassEvaluation:
    """Evaluate one split; `is_ordered` says whether the order of the classes has a meaning.

    Classes are predicted with `rule`. There are curves of class 1 if there are two classes, otherwise of the
    `MAX_CURVE_CLASSES` most frequent classes.

    Raises:
        errors.ScoresError: see `classification_metrics`.
    """
    y_true, probabilities = scored.labels, scored.scores
    metrics = classification_metrics(y_true, probabilities, is_ordered, rule)
    names = class_names(classes, probabilities.shape[1])
    is_binary = len(names) == 2
    evaluation = ClassEvaluation(
        name=name,
        scored=scored,
        classes=names,
        metrics=metrics,
        calibration=compute_calibration(y_true, probabilities),
        per_class=per_class_metrics(y_true, probabilities, classes, rule),
        confusion=confusion_matrix(y_true, probabilities, rule) if len(names) <= MAX_CONFUSION_CLASSES else None,
        curves={},
        heading=heading,
        rule=rule,
    )
    for k in [1] if is_binary else evaluation.by_frequency()[:MAX_CURVE_CLASSES]:
        class_curves = compute_curves(y_true == k, probabilities[:, k])
        if class_curves is not None:
            evaluation.curves[names[k]] = class_curves
    return evaluation
