"""Regression: one or more numbers; scores are the predicted numbers in the units of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.targets.numeric_target import MEDIAN, NumericTarget
from fusionzoo.errors import target_errors
from fusionzoo.errors.wording import list_names
from fusionzoo.evaluation.metric_directions import REGRESSION_METRICS, metric_name
from fusionzoo.tasks.label_limits import LabelLimit, describe_extremes, find_extreme_rows
from fusionzoo.tasks.task import SettingsView, Task

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fusionzoo.evaluation.output_scaling import ScalingLoss
    from fusionzoo.evaluation.regression_evaluation import RegressionEvaluation
    from fusionzoo.evaluation.resampled_metrics import ResampledMetric
    from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit
    from fusionzoo.settings import JobSettings


class Regression(Task):
    """Predict one or more columns of numbers; with `quantiles`, several quantiles of each."""

    metrics = REGRESSION_METRICS
    losses = ("mse", "mae", "huber", "quantile")
    settings = frozenset({"target_transform", "quantiles", "huber_delta"})
    decision_rule = "identity"
    target: NumericTarget

    @classmethod
    def find_setting_problems(cls, job: SettingsView) -> Iterator[errors.Problem]:
        quantiles, loss = job.get("quantiles"), job.get("loss") or cls.losses[0]
        if quantiles is not None:
            if MEDIAN not in quantiles:
                yield target_errors.quantiles_without_median(quantiles)
            if len({_name_quantile(q) for q in quantiles}) < len(quantiles):
                yield target_errors.duplicate_quantiles(quantiles)
        if (loss == "quantile") != (quantiles is not None) and job.is_valid("quantiles", "loss"):
            yield target_errors.quantiles_contradict_loss(quantiles, loss)
        if loss != "huber" and job.get("huber_delta") not in (None, job.default("huber_delta")):
            yield target_errors.huber_delta_without_huber_loss(job.get("huber_delta"), loss)

    @property
    def title(self) -> str:
        return f"target {', '.join(self.target.names)}"

    @property
    def label_columns(self) -> list[str]:
        return self.target.names

    @property
    def score_columns(self) -> list[str]:
        """`predicted_<column>`, and for other quantiles than the median `predicted_<column>_q<percent>`."""
        suffixes = ["" if q == MEDIAN else f"_{_name_quantile(q)}" for q in self.target.quantiles or (MEDIAN,)]
        return [f"predicted_{name}{suffix}" for name in self.target.names for suffix in suffixes]

    @property
    def decision_columns(self) -> list[str]:
        return []

    @property
    def label_type(self) -> pa.DataType:
        return pa.float64()

    def decode_labels(self, labels: np.ndarray) -> list[pa.Array]:
        return [pa.array(column, from_pandas=True) for column in np.ascontiguousarray(labels.T)]

    def decide(self, scores: np.ndarray) -> list[pa.Array]:
        return []

    def make_scaling_loss(self, job: JobSettings) -> ScalingLoss:
        from fusionzoo.evaluation.output_scaling import ScalingLoss, make_number_loss

        compute = make_number_loss(job.loss or self.losses[0], job.huber_delta, self.target)
        return ScalingLoss("loss", compute, "the outputs of the network hardly vary")

    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        from fusionzoo.evaluation.regression_metrics import regression_metrics

        return regression_metrics(labels, self._medians(scores))

    def prepare_resampling(self, labels: np.ndarray, scores: np.ndarray) -> Mapping[str, ResampledMetric]:
        from fusionzoo.evaluation.resampled_metrics import resampled_mean

        differences = np.abs(labels - self._medians(scores).astype(np.float64))
        return {"rmse": resampled_mean(differences**2, is_root=True), "mae": resampled_mean(differences)}

    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str = "") -> RegressionEvaluation:
        from fusionzoo.evaluation.regression_evaluation import evaluate_regression_split

        medians = self._medians(scored.scores)
        evaluation = evaluate_regression_split(name, scored.labels, medians, self.target.names, heading)
        evaluation.quantiles.update(self._quantile_shares(scored))
        return evaluation

    def draw_plots(self, evaluation: RegressionEvaluation) -> dict[str, bytes]:
        from fusionzoo.evaluation.regression_plots import draw_regression_plots

        return draw_regression_plots(evaluation)

    def report_entries(self) -> dict[str, Any]:
        return {"targets": self.target.names}

    def artifact_entries(self) -> dict[str, Any]:
        return {"targets": self.target.as_json()}

    def describe_labels(self, labels: np.ndarray) -> str:
        parts = [
            f"{name}: {column.mean():.6g} on average, {column.min():.6g} to {column.max():.6g}"
            for name, column in zip(self.target.names, labels.T, strict=True)
        ]
        return list_names(parts)

    def warn_of_labels(self, split: str, labels: np.ndarray, fraction: float | None) -> None:
        """Do nothing: any numbers can be evaluated, and undefined metrics are null."""

    def find_label_limits(self, train: np.ndarray, val: np.ndarray, job: JobSettings) -> list[LabelLimit]:
        can_transform = self.target.transform is None and min(train.min(), val.min()) > -1
        fix = _suggest_robust_settings(job, can_transform)
        is_squared = (job.loss or self.losses[0]) == "mse"
        for split, labels in (("train", train), ("val", val)):
            scaled = self.target.standardize(labels)
            for name, numbers, values in zip(self.target.names, labels.T, scaled.T, strict=True):
                rows = find_extreme_rows(values)
                if len(rows):
                    finding = describe_extremes(split, name, numbers, rows, values)
                    effect = "the squared error is mostly that of these rows" if is_squared else ""
                    return [LabelLimit(finding, effect, fix)]
        return []

    def check_val_labels(self, labels: np.ndarray, metric: str, fraction: float | None) -> None:
        name = metric_name(metric)
        if name is None:
            return
        ranks = np.arange(len(labels))[:, None] + np.zeros_like(labels)  # not constant, as predictions hardly are
        from fusionzoo.evaluation.regression_metrics import regression_metrics

        if regression_metrics(labels, ranks)[name] is None:
            raise errors.DataError([target_errors.metric_undefined_on_val(metric)])

    def _medians(self, scores: np.ndarray) -> np.ndarray:
        """Return the point predictions [rows, columns]."""
        quantiles = self.target.quantiles
        if not quantiles:
            return scores
        return scores.reshape(len(scores), -1, len(quantiles))[:, :, quantiles.index(MEDIAN)]

    def _quantile_shares(self, scored: ScoredSplit) -> dict[str, dict[str, float]]:
        """Return the share of labels at or below each predicted quantile, by column and quantile; the ideal is q."""
        quantiles, rows = self.target.quantiles, len(scored.labels)
        if not quantiles or not rows:
            return {}
        is_below = scored.labels[:, :, None] <= scored.scores.reshape(rows, -1, len(quantiles))
        shares = is_below.mean(axis=0)
        return {
            name: {f"{q:g}": float(share) for q, share in zip(quantiles, column, strict=True)}
            for name, column in zip(self.target.names, shares, strict=True)
        }


def _suggest_robust_settings(job: JobSettings, can_transform: bool) -> str:
    """Return what reduces the effect of extreme values, beyond what the job has set."""
    settings = ["set target_transform: log1p"] if can_transform else []
    if job.loss in (None, "mse"):
        settings.append("loss: huber or mae" if can_transform else "set loss: huber or mae")
    elif job.loss == "huber":
        settings.append(f"lower huber_delta (it is {job.huber_delta:g})")
    return f"{', '.join(settings)}{', or ' if settings else ''}correct or remove such rows"


def _name_quantile(quantile: float) -> str:
    """Return the end of the name of a quantile's column: q5, q97.5."""
    return f"q{100 * quantile:g}"
