"""The one place above `data` that knows the names of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.regression import Regression
from fusionzoo.tasks.task import Task

if TYPE_CHECKING:
    from fusionzoo.data.data_settings import DataSettings
    from fusionzoo.data.preprocessor import Preprocessor

TASKS: Mapping[str, type[Task]] = MappingProxyType(
    {"classification": Classification, "multilabel": Multilabel, "regression": Regression}
)


def choose_metrics(settings: DataSettings) -> Mapping[str, bool]:
    """Return the metrics of a job's task by name, and whether greater is better."""
    return TASKS[settings.task].metrics


def choose_task(preprocessor: Preprocessor) -> Task:
    """Return the task of a job or of a model folder, with its fitted target."""
    return TASKS[preprocessor.settings.task](preprocessor.target, preprocessor.rules)
