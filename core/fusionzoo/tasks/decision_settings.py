"""The settings that say how probabilities become decisions, and their checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from fusionzoo import errors
from fusionzoo.errors import decision_errors
from fusionzoo.evaluation.decision_choice import Goal
from fusionzoo.tasks.task import SettingsView

if TYPE_CHECKING:
    from fusionzoo.settings import JobSettings

DECISION_SETTINGS = ("decision_threshold", "min_precision", "min_recall", "cost_matrix")


def read_goal(job: JobSettings) -> Goal | None:
    """Return how the job decides; None for the default rule of the task."""
    return next((Goal(name, value) for name in DECISION_SETTINGS if (value := getattr(job, name)) is not None), None)


def find_class_decision_problems(job: SettingsView) -> Iterator[errors.Problem]:
    """Yield the problems among the decision settings of a classification."""
    yield from _find_several(job)
    num_classes, thresholds = job.get("num_classes"), job.get("decision_threshold")
    if isinstance(thresholds, list):
        yield decision_errors.thresholds_of_labels(thresholds)
    for name in DECISION_SETTINGS[:-1]:
        value = job.get(name)
        if value is not None and num_classes is not None and num_classes > 2 and not isinstance(value, list):
            yield decision_errors.threshold_of_several_classes(name, value, num_classes)
    yield from _find_cost_problems(job.get("cost_matrix"), num_classes)


def find_label_decision_problems(job: SettingsView) -> Iterator[errors.Problem]:
    """Yield the problems among the decision settings of a multilabel classification."""
    yield from _find_several(job)
    yield from _find_cost_problems(job.get("cost_matrix"), 2)


def find_threshold_count_problem(job: JobSettings, labels: int) -> errors.Problem | None:
    """Return the problem of a list of thresholds that is not as long as the labels; None if there is none."""
    thresholds = job.decision_threshold
    if isinstance(thresholds, list) and len(thresholds) != labels:
        return decision_errors.wrong_number_of_thresholds(thresholds, labels)
    return None


def _find_several(job: SettingsView) -> Iterator[errors.Problem]:
    given = {name: value for name in DECISION_SETTINGS if (value := job.get(name)) is not None}
    if len(given) > 1:
        yield decision_errors.several_decision_rules(given)


def _find_cost_problems(costs: Sequence[Sequence[float]] | None, classes: int | None) -> Iterator[errors.Problem]:
    if costs is None:
        return
    count = len(costs) if classes is None else classes
    if len(costs) != count or any(len(row) != count for row in costs):
        yield decision_errors.cost_matrix_shape(costs, count)
        return
    if expensive := [k for k, row in enumerate(costs) if row[k] > min(row)]:
        yield decision_errors.cost_of_correct_class(costs, expensive[0])
    elif all(min(row) == max(row) for row in costs):
        yield decision_errors.equal_costs(costs)
