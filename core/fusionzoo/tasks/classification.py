"""Classification: one of two or more classes; scores are the probabilities of the classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.targets.class_labels import Label, LabelMap, label_array
from fusionzoo.data.targets.score_rules import DecisionRule
from fusionzoo.data.targets.target import NO_LABEL
from fusionzoo.errors import target_errors
from fusionzoo.evaluation.label_decision import predict_classes
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS, metric_name, val_metric
from fusionzoo.tasks.absent_classes import warn_of_absent_classes
from fusionzoo.tasks.class_settings import find_class_problems, find_loss_problems
from fusionzoo.tasks.decision_settings import DECISION_SETTINGS, find_class_decision_problems, read_goal
from fusionzoo.tasks.label_limits import LabelLimit, RowCounts, find_rare_rows
from fusionzoo.tasks.task import SettingsView, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fusionzoo.evaluation.class_evaluation import ClassEvaluation
    from fusionzoo.evaluation.decision_choice import DecisionFit
    from fusionzoo.evaluation.output_scaling import ScalingLoss
    from fusionzoo.evaluation.resampled_metrics import ResampledMetric
    from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit
    from fusionzoo.settings import JobSettings

MAX_LISTED_CLASSES = 20
MIN_RANKED_ROWS = 50  # of each class of val: with fewer, AUROC is too coarse to select weights


class Classification(Task):
    """Predict one of the classes of a label column."""

    metrics = CLASSIFICATION_METRICS
    losses = ("cross_entropy", "focal")
    settings = frozenset(
        {"num_classes", "is_binary", "classes", "class_weights", "focal_gamma", "label_smoothing"}
        | set(DECISION_SETTINGS)
    )
    decision_rule = "argmax"
    target: LabelMap

    @classmethod
    def find_setting_problems(cls, job: SettingsView) -> Iterator[errors.Problem]:
        labels = job.get("label_name")
        if isinstance(labels, list) and len(labels) > 1:
            yield target_errors.several_label_columns(labels)
        yield from find_class_problems(job)
        yield from find_class_decision_problems(job)
        yield from find_loss_problems(job, cls.losses[0])

    @property
    def classes(self) -> Sequence[Label]:
        """The original labels, in the order of the class indices."""
        return self.target.classes

    @property
    def title(self) -> str:
        return f"label {self.target.name}"

    @property
    def label_columns(self) -> list[str]:
        return [self.target.name]

    @property
    def score_columns(self) -> list[str]:
        """`prob_<class>` for each class, in their order and as the labels are spelled."""
        return [f"prob_{label}" for label in self.classes]

    @property
    def decision_columns(self) -> list[str]:
        return [f"predicted_{self.target.name}"]

    @property
    def label_type(self) -> pa.DataType:
        return self._label_array().type

    def _label_array(self) -> pa.Array:
        try:
            return label_array(self.classes)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise errors.PredictionColumnsError.mixed_labels(self.classes) from error

    def decode_labels(self, labels: np.ndarray) -> list[pa.Array]:
        indices = labels.astype(np.int64)
        return [self._label_array().take(pa.array(indices, mask=indices == NO_LABEL))]

    def decide(self, scores: np.ndarray) -> list[pa.Array]:
        """Return the predicted class, see `fusionzoo.evaluation.label_decision.predict_classes`."""
        return [self._label_array().take(pa.array(predict_classes(scores, self.rules.decision)))]

    def make_scaling_loss(self, job: JobSettings) -> ScalingLoss:
        from fusionzoo.evaluation.output_scaling import ScalingLoss, softmax_loss

        return ScalingLoss("log_loss", softmax_loss, "it has too few wrong rows")

    def fit_decision(self, labels: np.ndarray, scores: np.ndarray, job: JobSettings) -> DecisionFit | None:
        from fusionzoo.evaluation.decision_choice import DecisionFit, fit_thresholds

        goal = read_goal(job)
        if goal is None:
            return None
        if len(self.classes) == 2:
            return fit_thresholds(goal, labels[:, None] == 1, scores[:, 1:], [str(self.classes[1])])
        return DecisionFit(goal, DecisionRule(costs=tuple(map(tuple, goal.value))), {}, [])

    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        from fusionzoo.evaluation.metrics import classification_metrics

        return classification_metrics(labels, scores, self.target.is_ordered, self.rules.decision)

    def prepare_resampling(self, labels: np.ndarray, scores: np.ndarray) -> Mapping[str, ResampledMetric]:
        from fusionzoo.evaluation.metrics import row_log_losses
        from fusionzoo.evaluation.resampled_metrics import resampled_auroc, resampled_mean

        ranked = [1] if len(self.classes) == 2 else range(len(self.classes))
        is_true = np.stack([labels == k for k in ranked], axis=1)
        return {
            "auroc": resampled_auroc(is_true, scores[:, list(ranked)]),
            "log_loss": resampled_mean(row_log_losses(labels, scores)[:, None]),
        }

    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str = "") -> ClassEvaluation:
        from fusionzoo.evaluation.class_evaluation import evaluate_class_split

        is_ordered, rule = self.target.is_ordered, self.rules.decision
        return evaluate_class_split(name, scored, self.classes, heading, is_ordered, rule)

    def draw_plots(self, evaluation: ClassEvaluation) -> dict[str, bytes]:
        from fusionzoo.evaluation.plots import draw_plots

        return draw_plots(evaluation)

    def report_entries(self) -> dict[str, Any]:
        return {"classes": [label.item() if isinstance(label, np.generic) else label for label in self.classes]}

    def artifact_entries(self) -> dict[str, Any]:
        return {
            "label_map": {str(label): index for index, label in enumerate(self.classes)},
            "classes": list(self.classes),
        }

    def describe_labels(self, labels: np.ndarray) -> str:
        rows = np.bincount(labels, minlength=len(self.classes))
        shares = [f"{label}: {count / len(labels):.1%}" for label, count in zip(self.classes, rows, strict=True)]
        hidden = len(shares) - MAX_LISTED_CLASSES
        more = f" and {hidden} more classes" if hidden > 0 else ""
        return ", ".join(shares[:MAX_LISTED_CLASSES]) + more

    def warn_of_labels(self, split: str, labels: np.ndarray, fraction: float | None) -> None:
        warn_of_absent_classes(split, labels, self.classes, fraction)

    def find_label_limits(self, train: np.ndarray, val: np.ndarray, job: JobSettings) -> list[LabelLimit]:
        rows = [np.bincount(labels, minlength=len(self.classes)) for labels in (train, val)]
        counts = RowCounts([f"of class '{label}'" for label in self.classes], *rows)
        return find_rare_rows(counts, "balanced_accuracy and auroc", job.val_fraction)

    def choose_ranking_metric(self, labels: np.ndarray) -> str | None:
        rows = np.bincount(labels[labels != NO_LABEL], minlength=len(self.classes))
        return val_metric("auroc") if len(self.classes) == 2 and rows.min() >= MIN_RANKED_ROWS else None

    def check_val_labels(self, labels: np.ndarray, metric: str, fraction: float | None) -> None:
        name = metric_name(metric)
        if len(np.unique(labels)) < 2 and name is not None:
            raise errors.DataError([errors.val_with_single_class(metric, fraction)])
        if name == "quadratic_kappa" and len(self.classes) > 2 and not self.target.is_ordered:
            raise errors.DataError([target_errors.metric_of_ordered_classes(metric, self.target.name, self.classes)])
