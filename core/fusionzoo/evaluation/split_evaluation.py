"""The evaluation of one split, of any task: computed once, then written as numbers, plots and TensorBoard events."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np

from fusionzoo.data.targets.target import find_labeled_rows

if TYPE_CHECKING:
    from fusionzoo.evaluation.curves import Counts

Metrics = dict[str, float | None]
"""Metrics by name; None for a metric that is undefined for the rows, never a default number."""


@dataclass(frozen=True)
class ScoredSplit:
    """The encoded labels [rows] or [rows, ...] and the scores [rows, outputs] of a split."""

    labels: np.ndarray
    scores: np.ndarray

    def labeled_rows(self) -> ScoredSplit:
        """Return the rows with a label."""
        is_labeled = find_labeled_rows(self.labels)
        if is_labeled.all():
            return self
        return ScoredSplit(self.labels[is_labeled], self.scores[is_labeled])


class SplitEvaluation(ABC):
    """All metrics of one split. `heading` is the first line of its plots: the model and what it predicts.

    `calibrated_metrics` are the scalars that metrics.json states before and after the calibration.
    """

    calibrated_metrics: ClassVar[tuple[str, ...]]
    name: str
    metrics: Metrics
    heading: str

    @property
    @abstractmethod
    def rows(self) -> int:
        """The rows with a label."""

    @abstractmethod
    def as_json(self) -> dict[str, Any]:
        """Return the split's entry of metrics.json, with plain types only."""

    def scalars(self) -> Metrics:
        """Return what TensorBoard shows as scalars."""
        return dict(self.metrics)

    def curve_counts(self) -> Mapping[str, Counts]:
        """Return what TensorBoard shows as precision-recall curves, by name."""
        return {}


class Evaluator(Protocol):
    """Evaluates the splits of one task; `fusionzoo.tasks.task.Task` is one."""

    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str) -> SplitEvaluation:
        """Return the evaluation of one split."""

    def draw_plots(self, evaluation: Any) -> Mapping[str, bytes]:
        """Return PNG bytes by the name of the plot, for an evaluation that `evaluate_split` returned."""

    def report_entries(self) -> Mapping[str, Any]:
        """Return top-level entries of metrics.json that describe the target."""
