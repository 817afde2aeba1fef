"""Suggest what a training job can use each column for, from its type and statistics."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.target import Target
from fusionzoo.preprocessing.column_statistics import ColumnStatistics
from fusionzoo.settings import JobSettings

TEXT, CATEGORY, NUMBER, UNUSED = "text_name", "cat_field_list", "tab_field_list", "unused"
UNNAMED = re.compile(r"(Unnamed: \d+|__index_level_\d+__)?")  # how pandas, and the reader of CSV, call such columns
MIN_TEXT_WORDS = 3.0  # mean words of a value of free text
MIN_DISTINCT_TEXTS = 20  # fewer are categories
MIN_ID_VALUES = 100
MIN_ID_SHARE = 0.9  # of the values of a column that are distinct


@dataclass(frozen=True)
class Role:
    """What a column can be used for: the name of a setting, or `UNUSED`, and why."""

    setting: str
    reason: str


def suggest_role(column: ColumnStatistics, settings: JobSettings) -> Role:
    """Return the role of a column. The roles that the arguments give come first."""
    if column.name == settings.id_name:
        return Role("id_name", "given as --id-name")
    if column.name in settings.label_columns:
        return Role("label_name", "given as --label-name")
    if column.name == settings.group_field:
        return Role(UNUSED, "given as --group-field: its values do not occur in another split")
    if UNNAMED.fullmatch(column.name):
        return Role(UNUSED, "it has no name, as the index that pandas writes")
    if column.distinct is None:
        return Role(UNUSED, f"training cannot use values of type {column.type}")
    if not column.present:
        return Role(UNUSED, "all values are missing")
    if column.distinct.count == 1 and not column.missing:
        return Role(UNUSED, "all values are equal")
    return _suggest_by_values(column)


def _suggest_by_values(column: ColumnStatistics) -> Role:
    distinct = column.distinct
    if distinct is None:
        raise ValueError("distinct values are counted for every type that has a text form")
    are_ids = column.present >= MIN_ID_VALUES and distinct.share > MIN_ID_SHARE
    if pa.types.is_temporal(column.type):
        return Role(UNUSED, "dates and times: derive numbers from them, such as days or hours")
    if pa.types.is_boolean(column.type):
        return Role(CATEGORY, "true and false")
    if column.is_numeric and are_ids and pa.types.is_integer(column.type):
        return Role(UNUSED, "nearly all integers are different, as in an id")
    if column.is_numeric:
        return Role(NUMBER, "all values are numbers")
    words = column.words.as_json().get("mean", 0.0)
    if words >= MIN_TEXT_WORDS and distinct.count > MIN_DISTINCT_TEXTS:
        return Role(TEXT, f"texts of {words:.1f} words on average")
    if are_ids:
        return Role(UNUSED, "nearly all values are different, as in an id")
    return Role(CATEGORY, f"{distinct.count:,} different values")


def suggest_hyperparameters(roles: Sequence[tuple[str, Role]], settings: JobSettings, target: Target) -> dict[str, Any]:
    """Return hyperparameters of a training job on the channels; only `model_class` is left to add."""
    columns = {
        setting: [name for name, role in roles if role.setting == setting] for setting in (TEXT, CATEGORY, NUMBER)
    }
    texts = columns[TEXT]
    suggested: dict[str, Any] = {} if settings.id_name is None else {"id_name": settings.id_name}
    suggested |= {"task": settings.task, "label_name": settings.label_name}
    if settings.label_separator is not None:
        suggested["label_separator"] = settings.label_separator
    if isinstance(target, LabelMap):
        suggested["num_classes"] = len(target.classes)
    if texts:
        suggested["text_name"] = texts[0] if len(texts) == 1 else texts
    return suggested | {setting: columns[setting] for setting in (CATEGORY, NUMBER) if columns[setting]}
