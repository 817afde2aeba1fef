"""Choose the objective of a task. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.class_objective import ClassObjective
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.multilabel_objective import MultilabelObjective
from fusionzoo.tasks.number_objective import NumberObjective
from fusionzoo.tasks.objective import Link, Objective
from fusionzoo.tasks.regression import Regression
from fusionzoo.tasks.scaled_link import ScaledLink
from fusionzoo.tasks.task import Task

_OBJECTIVES: Mapping[type[Task], type[Objective]] = MappingProxyType(
    {Classification: ClassObjective, Multilabel: MultilabelObjective, Regression: NumberObjective}
)


def make_objective(task: Task, settings: JobSettings, train: EncodedSplit) -> Objective:
    """Return what a job minimizes.

    Raises:
        errors.DataError: the settings of the loss do not fit the labels of train.
    """
    return _OBJECTIVES[type(task)].make(settings, train, task.target)


def make_link(task: Task) -> Link:
    """Return how the outputs of a network for this task become scores, with the calibration if the task has one."""
    link, scaling = _OBJECTIVES[type(task)].make_link(task.target), task.rules.scaling
    return link if scaling is None else ScaledLink(scaling, link)
