"""Compare a model with a baseline on the same rows: the difference of each metric, and its bootstrap interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from fusionzoo.evaluation.metric_text import format_metric
from fusionzoo.evaluation.resampled_metrics import ResampledMetric
from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit

RESAMPLES, CONFIDENCE, SEED = 1_000, 0.95, 0


class ComparedTask(Protocol):
    """What a comparison needs of a task; `fusionzoo.tasks.task.Task` has it."""

    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        """Return the metrics of labeled rows."""

    def prepare_resampling(self, labels: np.ndarray, scores: np.ndarray) -> Mapping[str, ResampledMetric]:
        """Return the main metrics of the task by name, which compute themselves for resamples of the rows."""


@dataclass(frozen=True)
class MetricDifference:
    """One metric of the model and of the baseline. What the rows do not define is None.

    Attributes:
        model: the metric of the model.
        baseline: the metric of the baseline.
        difference: model - baseline.
        confidence_interval: the 95 % percentile interval of the difference.
        resamples: the resamples of the rows that define both metrics.
    """

    model: float | None
    baseline: float | None
    difference: float | None
    confidence_interval: tuple[float, float] | None
    resamples: int


@dataclass(frozen=True)
class BaselineComparison:
    """The metrics of a baseline, and the differences of the main metrics by name. `rows` have a label."""

    rows: int
    metrics: Metrics
    differences: Mapping[str, MetricDifference]

    def as_json(self) -> dict[str, Any]:
        """Return the entry `baseline` of metrics.json, with plain types only."""
        differences = {
            name: {**asdict(one), "confidence_interval": one.confidence_interval and list(one.confidence_interval)}
            for name, one in self.differences.items()
        }
        return {"rows": self.rows, "metrics": self.metrics, "differences": differences}

    def describe(self, directions: Mapping[str, bool]) -> Iterator[str]:
        """Yield one line for each metric that is compared; `directions` say whether greater is better."""
        for name, one in self.differences.items():
            if one.model is None or one.baseline is None or one.difference is None:
                yield f"{name}: undefined for these rows"
                continue
            model, baseline = format_metric(one.model), format_metric(one.baseline)
            line = f"{name}: {model}, baseline {baseline}, difference {format_metric(one.difference, '+')}"
            if one.confidence_interval is not None:
                low, high = one.confidence_interval
                is_better = directions[name] == (low > 0)
                verdict = f"{'better' if is_better else 'worse'} than the baseline"
                if low <= 0 <= high:
                    verdict = "no measurable difference"
                interval = f"{format_metric(low, '+')} to {format_metric(high, '+')}"
                line += f" ({100 * CONFIDENCE:.0f} % interval {interval}): {verdict}"
            yield line


def compare_with_baseline(task: ComparedTask, scored: ScoredSplit, baseline: np.ndarray) -> BaselineComparison:
    """Compare two sets of scores of the same rows. Rows without a label are left out.

    The interval of a difference is that of the paired percentile bootstrap (Efron and Tibshirani 1993, chapter 13):
    each of 1,000 seeded resamples draws rows with replacement, the same ones for both sides.

    Args:
        task: the task, with the default decision rule.
        scored: the labels, and the scores of the model.
        baseline: the scores of the baseline, [rows, outputs].

    Raises:
        errors.ScoresError: labels or scores that the task cannot evaluate.
    """
    model, other = scored.labeled_rows(), ScoredSplit(scored.labels, baseline).labeled_rows()
    rows, metrics = len(other.labels), task.compute_metrics(other.labels, other.scores)
    sides = [task.prepare_resampling(split.labels, split.scores) for split in (model, other)]
    draws: dict[str, list[float]] = {name: [] for name in sides[0]}
    random = np.random.default_rng(SEED)
    for _ in range(RESAMPLES):
        counts = np.bincount(random.integers(0, rows, rows), minlength=rows)
        for name, values in draws.items():
            metric, other_metric = (side[name](counts) for side in sides)
            if metric is not None and other_metric is not None:
                values.append(metric - other_metric)
    every_row = np.ones(rows, np.int64)
    differences = {
        name: _make_difference(sides[0][name](every_row), sides[1][name](every_row), values)
        for name, values in draws.items()
    }
    return BaselineComparison(rows, metrics, differences)


def _make_difference(model: float | None, baseline: float | None, draws: list[float]) -> MetricDifference:
    if model is None or baseline is None:
        return MetricDifference(model, baseline, None, None, len(draws))
    interval = None
    if draws:
        low, high = np.quantile(draws, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        interval = (float(low), float(high))
    return MetricDifference(model, baseline, model - baseline, interval, len(draws))
