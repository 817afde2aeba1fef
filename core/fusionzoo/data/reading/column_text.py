"""The values of a column as strings that are the same for every file format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.reading.extension_types import empty_array, is_uuid, uuids_as_text
from fusionzoo.data.reading.number_text import format_number
from fusionzoo.data.reading.plain_values import json_value_type, json_values
from fusionzoo.data.reading.value_kinds import wrong_type
from fusionzoo.errors.wording import printable

if TYPE_CHECKING:
    from fusionzoo.data.reading.rows import Rows

# Patterns and replacements that turn Arrow's text of a time into Python's: drop a zero fraction, shorten a fraction to
# 6 digits, write UTC as +00:00, and put a colon into the UTC offset.
_TIME_REWRITES = (
    (r"\.(?:0{6}|0{9})(Z|[+-][0-9]{4}|)$", r"\1"),
    (r"(\.[0-9]{6})000(Z|[+-][0-9]{4}|)$", r"\1\2"),
    (r"(:[0-9]{2}[.0-9]*)Z$", r"\1+00:00"),
    (r"(:[0-9]{2}[.0-9]*[+-][0-9]{2})([0-9]{2})$", r"\1:\2"),
)
# Types without a text form. They are compared by name, because views only exist since Arrow 16.
_TYPES_WITHOUT_TEXT = ("binary", "large_binary", "fixed_size_binary", "duration")


def column_as_text(rows: Rows, column: str) -> pa.Array:
    """Return the values of a column as strings; null, NaN and the empty string become null.

    Raises:
        errors.DataError: the values are bytes, durations, lists or other nested values.
    """
    values = rows.columns[column]
    try:
        text = values_as_text(values)
    except pa.ArrowException as cause:
        raise errors.DataError([wrong_type(rows, column, "text or plain values")]) from cause
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def values_as_text(values: pa.Array) -> pa.Array:
    """Return values as strings, written as Python writes them. A whole number has no decimal point in any type.

    Raises:
        pa.ArrowException: the values are bytes, durations, nested values, or of an unknown extension type.
    """
    arrow_type = values.type
    if pa.types.is_boolean(arrow_type):
        return pc.if_else(values, "True", "False")
    if pa.types.is_floating(arrow_type):
        return pa.array([format_number(number) for number in values.to_numpy(zero_copy_only=False)], pa.string())
    if pa.types.is_timestamp(arrow_type) or pa.types.is_time(arrow_type):
        return _times_as_text(values)
    if is_uuid(arrow_type):
        return uuids_as_text(values.storage)
    if arrow_type == json_value_type():
        texts = (None if value is None else printable(str(value)) for value in json_values(values))
        return pa.array(texts, pa.string())
    if isinstance(arrow_type, pa.BaseExtensionType) or str(arrow_type).startswith(_TYPES_WITHOUT_TEXT):
        raise pa.ArrowTypeError(f"{arrow_type} is not text")
    return values.cast(pa.string())


def has_text_form(arrow_type: pa.DataType) -> bool:
    """Return whether `values_as_text` accepts values of a type."""
    try:
        values_as_text(empty_array(arrow_type))
    except pa.ArrowException:
        return False
    return True


def _times_as_text(values: pa.Array) -> pa.Array:
    """Return times as Python writes them, in any unit. A fraction has 6 digits, or 9 if nanoseconds need them."""
    arrow_type = values.type
    if arrow_type.unit == "ms":
        microseconds = pa.time64("us") if pa.types.is_time(arrow_type) else pa.timestamp("us", arrow_type.tz)
        values = values.cast(microseconds)
    text = values.cast(pa.string())
    for pattern, replacement in _TIME_REWRITES:
        text = pc.replace_substring_regex(text, pattern, replacement)
    return text
