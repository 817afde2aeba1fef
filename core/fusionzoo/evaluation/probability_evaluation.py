"""What the evaluations of a classification and of a multilabel classification have in common."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from fusionzoo.evaluation.calibration import Calibration
from fusionzoo.evaluation.curves import Counts, Curves
from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit, SplitEvaluation


@dataclass(frozen=True, kw_only=True)
class ProbabilityEvaluation(SplitEvaluation):
    """All metrics of one split with probabilities.

    Attributes:
        curves: the curves of the most frequent classes or labels, by their texts.
        heading: the first line of its plots: the model and what it predicts.
    """

    calibrated_metrics = ("log_loss", "ece_equal_width", "ece_equal_mass")
    name: str
    scored: ScoredSplit
    metrics: Metrics
    calibration: Calibration
    curves: dict[str, Curves]
    heading: str = ""

    @property
    def rows(self) -> int:
        return len(self.scored.labels)

    def as_json(self) -> dict[str, Any]:
        return {
            "rows": self.rows,
            "metrics": self.metrics,
            "calibration": asdict(self.calibration),
            "curves": {name: asdict(curves) for name, curves in self.curves.items()},
        }

    def scalars(self) -> Metrics:
        bins = {"ece_equal_width": self.calibration.equal_width, "ece_equal_mass": self.calibration.equal_mass}
        errors = {name: None if b is None else b.expected_calibration_error for name, b in bins.items()}
        return {**self.metrics, **errors}

    def curve_counts(self) -> dict[str, Counts]:
        return {name: curves.counts for name, curves in self.curves.items()}
