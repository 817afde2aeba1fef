"""The one place in `data` that knows the names of tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.targets.class_labels import ClassLabelReader
from fusionzoo.data.targets.label_indicators import LabelIndicatorReader
from fusionzoo.data.targets.label_lists import LabelListReader
from fusionzoo.data.targets.numeric_target import NumericTargetReader
from fusionzoo.data.targets.target import TargetReader


def _choose_label_sets(settings: DataSettings) -> TargetReader:
    return (LabelIndicatorReader if len(settings.label_columns) > 1 else LabelListReader)(settings)


TARGETS: Mapping[str, Callable[[DataSettings], TargetReader]] = MappingProxyType(
    {"classification": ClassLabelReader, "multilabel": _choose_label_sets, "regression": NumericTargetReader}
)


def choose_target(settings: DataSettings) -> TargetReader:
    """Return how the target of a job is read."""
    return TARGETS[settings.task](settings)
