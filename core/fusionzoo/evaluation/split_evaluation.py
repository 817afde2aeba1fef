"""The evaluation of one split: computed once, then written as numbers, plots and TensorBoard events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.labels import NO_LABEL, Label
from fusionzoo.evaluation.calibration import Calibration, compute_calibration
from fusionzoo.evaluation.curves import MAX_CURVE_CLASSES, Curves, compute_curves
from fusionzoo.evaluation.metrics import (
    Metrics,
    class_names,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)

MAX_CONFUSION_CLASSES = 1000
"""With more classes there is no confusion matrix: it would be too large to read."""


@dataclass(frozen=True)
class ScoredSplit:
    """The class indices [rows] and probabilities [rows, classes] of a split."""

    y_true: NDArray[np.integer]
    probabilities: NDArray[np.floating]

    def labeled_rows(self) -> ScoredSplit:
        """Return the rows with a label; a row without one has the class index `NO_LABEL`."""
        is_labeled = self.y_true != NO_LABEL
        if is_labeled.all():
            return self
        return ScoredSplit(self.y_true[is_labeled], self.probabilities[is_labeled])


@dataclass(frozen=True)
class SplitEvaluation:
    """All metrics of one split; `classes` are the texts of the labels in the order of the class indices.

    `heading` is the first line of its plots: the model and what it predicts.
    """

    name: str
    scored: ScoredSplit
    classes: list[str]
    metrics: Metrics
    calibration: Calibration
    per_class: dict[str, dict[str, int | float | None]]
    confusion: NDArray[np.int64] | None  # [true class, predicted class]
    curves: dict[str, Curves]
    heading: str = ""

    @property
    def rows(self) -> int:
        return len(self.scored.y_true)

    def by_frequency(self) -> list[int]:
        """Return the classes that have rows, most frequent first; equally frequent ones in ascending order."""
        support = np.bincount(self.scored.y_true, minlength=len(self.classes))
        return [int(k) for k in np.argsort(-support, kind="stable") if support[k]]

    def as_json(self) -> dict[str, Any]:
        """Return the split's entry of metrics.json, with plain types only."""
        return {
            "rows": self.rows,
            "metrics": self.metrics,
            "calibration": asdict(self.calibration),
            "per_class": self.per_class,
            "confusion_matrix": None if self.confusion is None else self.confusion.tolist(),
            "curves": {name: asdict(class_curves) for name, class_curves in self.curves.items()},
        }


def evaluate_split(name: str, scored: ScoredSplit, classes: Sequence[Label], heading: str = "") -> SplitEvaluation:
    """Evaluate one split.

    There are curves of class 1 if there are two classes, otherwise of the `MAX_CURVE_CLASSES` most frequent classes.

    Raises:
        errors.ScoresError: see `classification_metrics`.
    """
    y_true, probabilities = scored.y_true, scored.probabilities
    metrics = classification_metrics(y_true, probabilities)
    names = class_names(classes, probabilities.shape[1])
    is_binary = len(names) == 2
    evaluation = SplitEvaluation(
        name=name,
        scored=scored,
        classes=names,
        metrics=metrics,
        calibration=compute_calibration(y_true, probabilities),
        per_class=per_class_metrics(y_true, probabilities, classes),
        confusion=confusion_matrix(y_true, probabilities) if len(names) <= MAX_CONFUSION_CLASSES else None,
        curves={},
        heading=heading,
    )
    for k in [1] if is_binary else evaluation.by_frequency()[:MAX_CURVE_CLASSES]:
        class_curves = compute_curves(y_true == k, probabilities[:, k])
        if class_curves is not None:
            evaluation.curves[names[k]] = class_curves
    return evaluation
