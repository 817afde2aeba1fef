"""Multilabel classification: any number of labels per row; scores are the probabilities of the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.targets.label_sets import LabelSets
from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.errors import target_errors
from fusionzoo.errors.column_errors import more_classes_in
from fusionzoo.errors.wording import list_names
from fusionzoo.evaluation.label_decision import predict_labels
from fusionzoo.evaluation.metric_directions import MULTILABEL_METRICS, metric_name
from fusionzoo.tasks.absent_classes import warn_of_absent_labels
from fusionzoo.tasks.class_settings import find_label_set_problems, find_loss_problems
from fusionzoo.tasks.decision_settings import (
    DECISION_SETTINGS,
    find_label_decision_problems,
    read_goal,
)
from fusionzoo.tasks.label_limits import LabelLimit, RowCounts, find_rare_rows
from fusionzoo.tasks.task import SettingsView, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fusionzoo.data.targets.class_labels import Label
    from fusionzoo.evaluation.decision_choice import DecisionFit
    from fusionzoo.evaluation.multilabel_evaluation import MultilabelEvaluation
    from fusionzoo.evaluation.output_scaling import ScalingLoss
    from fusionzoo.evaluation.resampled_metrics import ResampledMetric
    from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit
    from fusionzoo.settings import JobSettings

MAX_LISTED_LABELS = 20


class Multilabel(Task):
    """Predict which labels apply to a row: none, one or several."""

    metrics = MULTILABEL_METRICS
    losses = ("binary_cross_entropy", "focal")
    settings = frozenset(
        {"num_classes", "classes", "class_weights", "focal_gamma", "label_separator"} | set(DECISION_SETTINGS)
    )
    decision_rule = "above_half"
    target: LabelSets

    @classmethod
    def find_setting_problems(cls, job: SettingsView) -> Iterator[errors.Problem]:
        yield from find_label_set_problems(job)
        yield from find_label_decision_problems(job)
        yield from find_loss_problems(job, cls.losses[0])

    @property
    def classes(self) -> Sequence[Label]:
        """The labels as they were read, in the order of the scores."""
        return self.target.labels

    @property
    def title(self) -> str:
        return f"labels {', '.join(self.target.columns)}"

    @property
    def label_columns(self) -> list[str]:
        return list(self.target.columns)

    @property
    def score_columns(self) -> list[str]:
        """`prob_<label>` for each label."""
        return [f"prob_{label}" for label in self.classes]

    @property
    def decision_columns(self) -> list[str]:
        """`predicted_<column>` for each label column."""
        return [f"predicted_{column}" for column in self.target.columns]

    @property
    def label_type(self) -> pa.DataType:
        return self.target.column_type

    def decode_labels(self, labels: np.ndarray) -> list[pa.Array]:
        return self.target.decode(labels)

    def decide(self, scores: np.ndarray) -> list[pa.Array]:
        """Return the labels with a probability above 0.5, or their threshold, in the form of the label columns."""
        return self.target.decode(predict_labels(scores, self.rules.decision).astype(np.int8))

    def make_scaling_loss(self, job: JobSettings) -> ScalingLoss:
        from fusionzoo.evaluation.output_scaling import ScalingLoss, sigmoid_loss

        return ScalingLoss("log_loss", sigmoid_loss, "it has too few wrong rows")

    def fit_decision(self, labels: np.ndarray, scores: np.ndarray, job: JobSettings) -> DecisionFit | None:
        from fusionzoo.evaluation.decision_choice import fit_thresholds

        goal = read_goal(job)
        return None if goal is None else fit_thresholds(goal, labels == 1, scores, list(map(str, self.classes)))

    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        from fusionzoo.evaluation.multilabel_metrics import multilabel_metrics

        return multilabel_metrics(labels, scores, self.rules.decision)

    def prepare_resampling(self, labels: np.ndarray, scores: np.ndarray) -> Mapping[str, ResampledMetric]:
        from fusionzoo.evaluation.multilabel_metrics import pair_log_losses
        from fusionzoo.evaluation.resampled_metrics import resampled_auroc, resampled_mean

        is_true = labels == 1
        return {
            "auroc": resampled_auroc(is_true, scores),
            "log_loss": resampled_mean(pair_log_losses(is_true, scores)),
        }

    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str = "") -> MultilabelEvaluation:
        from fusionzoo.evaluation.multilabel_evaluation import evaluate_multilabel_split

        return evaluate_multilabel_split(name, scored, self.classes, heading, self.rules.decision)

    def draw_plots(self, evaluation: MultilabelEvaluation) -> dict[str, bytes]:
        from fusionzoo.evaluation.multilabel_plots import draw_multilabel_plots

        return draw_multilabel_plots(evaluation)

    def report_entries(self) -> dict[str, Any]:
        return {"classes": list(self.classes)}

    def artifact_entries(self) -> dict[str, Any]:
        return {
            "label_map": {str(label): index for index, label in enumerate(self.classes)},
            "classes": list(self.classes),
        }

    def describe_labels(self, labels: np.ndarray) -> str:
        is_set = labels == 1
        shares = [f"{label}: {share:.1%}" for label, share in zip(self.classes, is_set.mean(axis=0), strict=True)]
        hidden = len(shares) - MAX_LISTED_LABELS
        more = f" and {hidden} more labels" if hidden > 0 else ""
        return f"{is_set.sum(axis=1).mean():.2f} labels per row; {list_names(shares[:MAX_LISTED_LABELS])}{more}"

    def warn_of_labels(self, split: str, labels: np.ndarray, fraction: float | None) -> None:
        warn_of_absent_labels(split, labels[find_labeled_rows(labels)], self.classes, fraction)

    def find_label_limits(self, train: np.ndarray, val: np.ndarray, job: JobSettings) -> list[LabelLimit]:
        with_label, without = ([f"{word} label '{label}'" for label in self.classes] for word in ("with", "without"))
        rows = [np.concatenate([(labels == value).sum(axis=0) for value in (1, 0)]) for labels in (train, val)]
        return find_rare_rows(RowCounts([*with_label, *without], *rows), "f1_score and auroc", job.val_fraction)

    def check_val_labels(self, labels: np.ndarray, metric: str, fraction: float | None) -> None:
        name = metric_name(metric)
        if name is None:
            return
        from fusionzoo.evaluation.multilabel_metrics import multilabel_metrics

        if multilabel_metrics(labels, np.zeros(labels.shape))[name] is None:
            fix = more_classes_in("val", fraction, "labels")
            raise errors.DataError([target_errors.val_without_labels(metric, fix)])
