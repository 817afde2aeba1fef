"""One split's evaluation: computed once, then written as numbers, plots and TensorBoard events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.labels import Label
from fusionzoo.evaluation.calibration import Calibration, calibration
from fusionzoo.evaluation.curves import CURVE_CLASSES, Curves, curves
from fusionzoo.evaluation.metrics import (
    Metrics,
    class_names,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)

CONFUSION_CLASSES = 1000
"""With more classes there is no confusion matrix: it would have more cells than anyone reads."""


@dataclass(frozen=True)
class ScoredSplit:
    """A split's class indices [rows] and probabilities [rows, classes]."""

    y_true: NDArray[np.integer]
    probabilities: NDArray[np.floating]


@dataclass(frozen=True)
class SplitEvaluation:
    """All figures of one split; `classes` are the labels' texts in the order of their indices."""

    name: str
    scored: ScoredSplit
    classes: list[str]
    metrics: Metrics
    calibration: Calibration
    per_class: dict[str, dict[str, int | float | None]]
    confusion: NDArray[np.int64] | None  # [true class, predicted class]
    curves: dict[str, Curves]

    @property
    def rows(self) -> int:
        return len(self.scored.y_true)

    def by_frequency(self) -> list[int]:
        """The classes that the split holds, most frequent first, of equals the lower."""
        support = np.bincount(self.scored.y_true, minlength=len(self.classes))
        return [int(k) for k in np.argsort(-support, kind="stable") if support[k]]

    def as_json(self) -> dict[str, Any]:
        """The split's entry in metrics.json: plain types only."""
        return {
            "rows": self.rows,
            "metrics": self.metrics,
            "calibration": asdict(self.calibration),
            "per_class": self.per_class,
            "confusion_matrix": None if self.confusion is None else self.confusion.tolist(),
            "curves": {name: asdict(of_class) for name, of_class in self.curves.items()},
        }


def evaluate_split(name: str, scored: ScoredSplit, classes: Sequence[Label]) -> SplitEvaluation:
    """The evaluation of one split.

    Curves are of class 1 where there are two classes, otherwise of each class that has rows, the most frequent
    `CURVE_CLASSES` of them.

    Raises:
        errors.ScoresError: see `classification_metrics`.
    """
    y_true, probabilities = scored.y_true, scored.probabilities
    metrics = classification_metrics(y_true, probabilities)
    names = class_names(classes, probabilities.shape[1])
    binary = len(names) == 2
    evaluation = SplitEvaluation(
        name=name,
        scored=scored,
        classes=names,
        metrics=metrics,
        calibration=calibration(y_true, probabilities),
        per_class=per_class_metrics(y_true, probabilities, classes),
        confusion=confusion_matrix(y_true, probabilities) if len(names) <= CONFUSION_CLASSES else None,
        curves={},
    )
    for k in [1] if binary else evaluation.by_frequency()[:CURVE_CLASSES]:
        of_class = curves(y_true == k, probabilities[:, k])
        if of_class is not None:
            evaluation.curves[names[k]] = of_class
    return evaluation
