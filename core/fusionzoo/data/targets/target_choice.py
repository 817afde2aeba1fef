"""The one place in `data` that knows the names of tasks."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.targets.class_labels import ClassLabels
from fusionzoo.data.targets.numeric_target import NumericTargetReader
from fusionzoo.data.targets.target import TargetReader

TARGETS: Mapping[str, type[TargetReader]] = MappingProxyType(
    {"classification": ClassLabels, "regression": NumericTargetReader}
)


def choose_target(settings: DataSettings) -> TargetReader:
    """Return how the target of a job is read."""
    return TARGETS[settings.task](settings)
