"""The interface of a task: what encoded labels and scores mean, without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.score_rules import NO_RULES, ScoreRules
from fusionzoo.data.targets.target import Target

if TYPE_CHECKING:
    from fusionzoo.evaluation.decision_choice import DecisionFit
    from fusionzoo.evaluation.output_scaling import ScalingLoss
    from fusionzoo.evaluation.resampled_metrics import ResampledMetric
    from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit, SplitEvaluation
    from fusionzoo.settings import JobSettings
    from fusionzoo.tasks.label_limits import LabelLimit


class SettingsView(Protocol):
    """The settings of a job that are not all valid yet, see `fusionzoo.hyperparameters.settings_draft`."""

    def get(self, name: str) -> Any:
        """Return a setting's value, or its default if the file does not give it; None if it has a problem."""

    def default(self, name: str) -> Any:
        """Return a setting's default; None if it is required."""

    def is_valid(self, *names: str) -> bool:
        """Return whether none of these settings has a problem."""


class Task(ABC):
    """A task with its fitted target, and the rules that a job fitted on val.

    Scores [rows, outputs] float32 are what a deployed model returns: the link of the task applied to the outputs of
    the network, such as probabilities.

    Class variables:
        metrics: the metrics of the task by name, and whether greater is better.
        losses: the training losses of the task; the first is the default.
        settings: the settings of the task that not every task has.
        decision_rule: how `decide` decides by default, for manifest.json; see `fusionzoo.artifacts.manifest.Decision`.
    """

    metrics: ClassVar[Mapping[str, bool]]
    losses: ClassVar[tuple[str, ...]]
    settings: ClassVar[frozenset[str]]
    decision_rule: ClassVar[str]

    @classmethod
    @abstractmethod
    def find_setting_problems(cls, job: SettingsView) -> Iterator[errors.Problem]:
        """Yield the problems among the settings of the task. A setting that has a problem itself is left out."""

    def __init__(self, target: Target, rules: ScoreRules = NO_RULES) -> None:
        self.target, self.rules = target, rules

    @property
    def classes(self) -> Sequence[Label]:
        """The classes in the order of the scores; empty if the scores are not those of classes."""
        return ()

    @property
    @abstractmethod
    def title(self) -> str:
        """What is predicted, for the heading of plots."""

    @property
    @abstractmethod
    def label_columns(self) -> list[str]:
        """The columns of a prediction file that hold the labels as they were read."""

    @property
    @abstractmethod
    def score_columns(self) -> list[str]:
        """The columns of a prediction file that hold the scores, one for each output."""

    @property
    @abstractmethod
    def decision_columns(self) -> list[str]:
        """The columns of a prediction file that hold what is decided from the scores."""

    @property
    @abstractmethod
    def label_type(self) -> pa.DataType:
        """The type of the labels and of the decisions.

        Raises:
            errors.PredictionColumnsError: the labels are not of one type.
        """

    @abstractmethod
    def decode_labels(self, labels: np.ndarray) -> list[pa.Array]:
        """Return encoded labels as they were read, one array for each of `label_columns`; null where missing."""

    @abstractmethod
    def decide(self, scores: np.ndarray) -> list[pa.Array]:
        """Return the decisions for scores [rows, outputs], one array for each of `decision_columns`."""

    @abstractmethod
    def make_scaling_loss(self, job: JobSettings) -> ScalingLoss:
        """Return what the calibration of the outputs minimizes."""

    def fit_decision(self, labels: np.ndarray, scores: np.ndarray, job: JobSettings) -> DecisionFit | None:
        """Return the decision rule that the settings ask for, from labeled rows; None for the default rule."""
        return None

    @abstractmethod
    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        """Return the metrics of labeled rows. A metric that these rows do not define is None.

        Raises:
            errors.ScoresError: the labels or scores are invalid.
        """

    @abstractmethod
    def prepare_resampling(self, labels: np.ndarray, scores: np.ndarray) -> Mapping[str, ResampledMetric]:
        """Return the metrics that a comparison of two models reports, by name, ready for resamples of labeled rows.

        For a resample, each returns what `compute_metrics` returns for the same rows.
        """

    @abstractmethod
    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str) -> SplitEvaluation:
        """Return the evaluation of the labeled rows of one split.

        Raises:
            errors.ScoresError: the labels or scores are invalid.
        """

    @abstractmethod
    def draw_plots(self, evaluation: Any) -> dict[str, bytes]:
        """Return PNG bytes by the name of the plot, for an evaluation that `evaluate_split` returned."""

    @abstractmethod
    def report_entries(self) -> dict[str, Any]:
        """Return the entries of metrics.json and predict_results.pth that describe the target, as plain values."""

    @abstractmethod
    def artifact_entries(self) -> dict[str, Any]:
        """Return the entries of model_artifacts.pth that describe the target, as plain values."""

    @abstractmethod
    def describe_labels(self, labels: np.ndarray) -> str:
        """Return the distribution of the labels of train in a few words."""

    @abstractmethod
    def warn_of_labels(self, split: str, labels: np.ndarray, fraction: float | None) -> None:
        """Log a warning if the labels of a split do not allow a complete evaluation.

        Args:
            split: the name of the split.
            labels: encoded labels, which may be missing.
            fraction: the share of train that the job split off; None for a channel of its own.
        """

    def find_label_limits(self, train: np.ndarray, val: np.ndarray, job: JobSettings) -> list[LabelLimit]:
        """Return what about the encoded labels of train and val, none of them missing, limits any model."""
        return []

    def choose_ranking_metric(self, labels: np.ndarray) -> str | None:
        """Return the `early_stop_metric` that says how well scores rank rows; None if these labels do not define one.

        Args:
            labels: encoded labels of val, which may be missing.
        """
        return None

    @abstractmethod
    def check_val_labels(self, labels: np.ndarray, metric: str, fraction: float | None) -> None:
        """Raise errors.DataError if the labels of val do not define `metric`, the `early_stop_metric` of the job."""


def column_names(task: Task, id_name: str, *, has_labels: bool = True) -> Sequence[str]:
    """Return the column names of a prediction file: the id, the labels if it has them, the scores, the decisions."""
    labels = task.label_columns if has_labels else []
    return [id_name, *labels, *task.score_columns, *task.decision_columns]
