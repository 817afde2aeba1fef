"""The metrics that plugins register: their checks, and their values with those of the task."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from fusionzoo.errors.metric_errors import PluginMetricError
from fusionzoo.errors.plugin_errors import Claim
from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.metric_directions import METRIC_ALIASES
from fusionzoo.hookspecs import PluginMetric
from fusionzoo.tasks.task import Task
from fusionzoo.tasks.task_choice import TASKS
from fusionzoo.tasks.task_examples import make_examples

if TYPE_CHECKING:
    from fusionzoo.evaluation.split_evaluation import Metrics, ScoredSplit, SplitEvaluation

NAME, MAX_NAME_LENGTH = re.compile(r"(?!val_)[a-z][a-z0-9]*(_[a-z0-9]+)*"), 60
RESERVED_NAMES = frozenset({"loss", "ece_equal_width", "ece_equal_mass"})
"""Names that TensorBoard or `early_stop_metric` has for something else."""
EXAMPLE_ROWS = 24


@dataclass(frozen=True)
class RegisteredMetric:
    """A metric of a plugin, and who provides it."""

    metric: PluginMetric
    claim: Claim

    @property
    def name(self) -> str:
        return self.metric.name

    def compute(self, labels: np.ndarray, scores: np.ndarray, rows: str = "") -> float | None:
        """Return the metric of labeled rows; None if it is undefined for them, or if there are none.

        Args:
            labels: encoded labels [rows] or [rows, ...].
            scores: [rows, outputs].
            rows: what the rows are, for messages; by default their number.

        Raises:
            PluginMetricError: the function raises, or does not return a finite number or None.
        """
        if not len(labels):
            return None
        rows = rows or pluralize(len(labels), "row")
        try:
            value: object = self.metric.function(_read_only(labels), _read_only(scores))
        except (Exception, SystemExit) as cause:
            raise PluginMetricError.raised(self.claim, self.name, rows, cause) from cause
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value):
            raise PluginMetricError.not_a_finite_number(self.claim, self.name, rows, value)
        return float(value)


def register_metrics(claim: Claim, returned: object) -> tuple[RegisteredMetric, ...]:
    """Check what the hook `metrics` returned, and compute each metric for an example of each kind of job.

    Raises:
        PluginMetricError: a metric is declared wrongly, or its function does not return a finite number or None.
    """
    if not isinstance(returned, list | tuple) or not all(isinstance(metric, PluginMetric) for metric in returned):
        raise PluginMetricError.not_a_list(claim, returned)
    taken = {*RESERVED_NAMES, *METRIC_ALIASES, *(name for task in TASKS.values() for name in task.metrics)}
    for metric in returned:
        _check_declaration(claim, metric)
        if metric.name in taken:
            raise PluginMetricError.taken_name(claim, metric.name)
        taken.add(metric.name)
    registered = tuple(RegisteredMetric(metric, claim) for metric in returned)
    for one in registered:
        for task in sorted(one.metric.tasks):
            for example in make_examples(task, EXAMPLE_ROWS):
                one.compute(example.labels, example.scores, f"an example of a {example.title}")
    return registered


def _check_declaration(claim: Claim, metric: PluginMetric) -> None:
    """Raise PluginMetricError if a field of a metric has a value of the wrong kind."""
    name = metric.name
    if not isinstance(name, str) or not NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise PluginMetricError.malformed_name(claim, name, MAX_NAME_LENGTH)
    known = ", ".join(TASKS)
    tasks = metric.tasks
    fields: tuple[tuple[str, bool, str], ...] = (
        ("function", callable(metric.function), "a function of labels and scores"),
        ("greater_is_better", isinstance(metric.greater_is_better, bool), "True or False"),
        ("description", isinstance(metric.description, str) and bool(metric.description.strip()), "a text"),
        ("tasks", isinstance(tasks, set | frozenset) and bool(tasks) and tasks <= set(TASKS), f"a set of {known}"),
    )
    for field, is_valid, expected in fields:
        if not is_valid:
            raise PluginMetricError.wrong_field(claim, name, field, getattr(metric, field), expected)


def join_metrics(registered: Iterable[RegisteredMetric], task: str) -> tuple[RegisteredMetric, ...]:
    """Return the metrics of the plugins of a job for its task, each once.

    Raises:
        PluginMetricError: two different metrics have the same name.
    """
    by_name: dict[str, RegisteredMetric] = {}
    for one in registered:
        other = by_name.setdefault(one.name, one)
        if other.metric != one.metric:
            raise PluginMetricError.of_two_plugins(one.name, [other.claim, one.claim])
    return tuple(one for one in by_name.values() if task in one.metric.tasks)


@dataclass(frozen=True)
class JobEvaluator:
    """Evaluates the splits of a job: with the metrics of its task, and those of its plugins."""

    task: Task
    plugin_metrics: tuple[RegisteredMetric, ...] = ()

    def compute_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        """Return the metrics of labeled rows. A metric that these rows do not define is None.

        Raises:
            errors.ScoresError: the labels or scores are invalid.
            PluginMetricError: the function of a plugin's metric fails.
        """
        return {**self.task.compute_metrics(labels, scores), **self._compute_plugin_metrics(labels, scores)}

    def evaluate_split(self, name: str, scored: ScoredSplit, heading: str) -> SplitEvaluation:
        """Return the evaluation of the labeled rows of one split; raises what `compute_metrics` raises."""
        evaluation = self.task.evaluate_split(name, scored, heading)
        evaluation.metrics.update(self._compute_plugin_metrics(scored.labels, scored.scores))
        return evaluation

    def draw_plots(self, evaluation: Any) -> Mapping[str, bytes]:
        """Return PNG bytes by the name of the plot, for an evaluation that `evaluate_split` returned."""
        return self.task.draw_plots(evaluation)

    def report_entries(self) -> Mapping[str, Any]:
        """Return top-level entries of metrics.json that describe the target."""
        return self.task.report_entries()

    def _compute_plugin_metrics(self, labels: np.ndarray, scores: np.ndarray) -> Metrics:
        return {one.name: one.compute(labels, scores) for one in self.plugin_metrics}


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
