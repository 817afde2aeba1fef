"""Small examples of each task: a target, labels and scores, with which plugins are checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_indicators import LabelIndicators
from fusionzoo.data.targets.numeric_target import NumericTarget, TargetScale
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.regression import Regression
from fusionzoo.tasks.task import Task
from fusionzoo.tasks.task_choice import TASKS

MEAN, STD = 20.0, 5.0  # of the numbers to predict


@dataclass(frozen=True)
class TaskExample:
    """Rows of a job: encoded labels [rows] or [rows, ...], and scores [rows, outputs] float32.

    `title` describes the job in a few words; `settings` are those that make it a job of its task.
    """

    title: str
    task: Task
    labels: np.ndarray
    scores: np.ndarray
    settings: Mapping[str, Any] = field(default_factory=dict)


def make_examples(name: str, rows: int, seed: int = 0) -> list[TaskExample]:
    """Return an example of each kind of job of the task with this name: the same for the same seed."""
    return _EXAMPLES[TASKS[name]](rows, np.random.default_rng(seed))


def settings_for_outputs(name: str, outputs: int) -> dict[str, Any]:
    """Return the settings of a job of the task with this name that has this number of outputs for a row."""
    return _SETTINGS[TASKS[name]](outputs)


def _make_class_examples(rows: int, rng: np.random.Generator) -> list[TaskExample]:
    return [_make_classes(count, rows, rng) for count in (2, 3)]


def _make_classes(count: int, rows: int, rng: np.random.Generator) -> TaskExample:
    labels = rng.permutation(np.arange(rows) % count)
    scores = rng.dirichlet(np.ones(count), rows).astype(np.float32)
    task = Classification(LabelMap("label", tuple(range(count)), is_ordered=True))
    return TaskExample(f"classification of {count} classes", task, labels, scores, {"num_classes": count})


def _make_label_examples(rows: int, rng: np.random.Generator) -> list[TaskExample]:
    names = ("label_0", "label_1", "label_2")
    labels = np.stack([rng.permutation(np.arange(rows) % (k + 2) == 0) for k in range(len(names))], axis=1)
    scores = rng.random((rows, len(names)), np.float32)
    settings = {"task": "multilabel", "label_name": list(names)}
    task = Multilabel(LabelIndicators(names))
    return [TaskExample("multilabel classification of 3 labels", task, labels.astype(np.int8), scores, settings)]


def _make_number_examples(rows: int, rng: np.random.Generator) -> list[TaskExample]:
    quantiles = (0.1, 0.5, 0.9)
    quantile_settings = {"loss": "quantile", "quantiles": list(quantiles)}
    return [
        _make_numbers("regression of one number", ("number",), (), rows, rng),
        _make_numbers("regression of two numbers", ("number", "other"), (), rows, rng),
        _make_numbers("regression of three quantiles", ("number",), quantiles, rows, rng, quantile_settings),
    ]


def _make_numbers(
    title: str,
    names: tuple[str, ...],
    quantiles: tuple[float, ...],
    rows: int,
    rng: np.random.Generator,
    settings: Mapping[str, Any] = MappingProxyType({}),
) -> TaskExample:
    target = NumericTarget(tuple(TargetScale(name, MEAN, STD) for name in names), quantiles=quantiles)
    labels = rng.normal(MEAN, STD, (rows, len(names)))
    medians = labels + rng.normal(0, STD, labels.shape)
    scores = (medians[:, :, None] + STD * (np.array(quantiles or [0.5]) - 0.5)).reshape(rows, -1)
    label_name: str | list[str] = names[0] if len(names) == 1 else list(names)
    values = {"task": "regression", "label_name": label_name, **settings}
    return TaskExample(title, Regression(target), labels, scores.astype(np.float32), values)


def _name_labels(outputs: int) -> list[str]:
    return [f"label_{i}" for i in range(outputs)]


_EXAMPLES: Mapping[type[Task], Callable[[int, np.random.Generator], list[TaskExample]]] = MappingProxyType(
    {Classification: _make_class_examples, Multilabel: _make_label_examples, Regression: _make_number_examples}
)
_SETTINGS: Mapping[type[Task], Callable[[int], dict[str, Any]]] = MappingProxyType(
    {
        Classification: lambda outputs: {"num_classes": outputs},
        Multilabel: lambda outputs: {"task": "multilabel", "label_name": _name_labels(outputs)},
        Regression: lambda outputs: {"task": "regression", "label_name": _name_labels(outputs)},
    }
)
