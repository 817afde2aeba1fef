"""What messages call the values of a column: the words of JSON, and what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fusionzoo import errors

if TYPE_CHECKING:
    from fusionzoo.data.reading.rows import Rows

Expected = Literal["text or plain values", "numbers"]


def is_nested(arrow_type: pa.DataType) -> bool:
    """Return whether values of an Arrow type have parts. For pyarrow before 15, a list of a fixed size has none."""
    return bool(types.is_nested(arrow_type) or types.is_fixed_size_list(arrow_type))


def describe_type(arrow_type: pa.DataType) -> str:
    """Return what values of an Arrow type are called, in the plural."""
    if "uuid" in str(arrow_type):
        return "UUIDs"
    if isinstance(arrow_type, pa.BaseExtensionType):
        return describe_type(arrow_type.storage_type)
    if types.is_struct(arrow_type) or types.is_map(arrow_type):
        return "objects"
    if is_nested(arrow_type):
        return "arrays"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type):
        return "strings"
    if types.is_boolean(arrow_type):
        return "true and false"
    if types.is_integer(arrow_type):
        return "integers"
    if types.is_floating(arrow_type) or types.is_decimal(arrow_type):
        return "numbers"
    if types.is_timestamp(arrow_type):
        return "dates with times"
    for is_kind, words in ((types.is_date, "dates"), (types.is_time, "times"), (types.is_duration, "durations")):
        if is_kind(arrow_type):
            return words
    return "bytes" if "binary" in str(arrow_type) else str(arrow_type)


def wrong_type(rows: Rows, column: str, expected: Expected) -> errors.Problem:
    """Return the problem of a column with values of a type that its role cannot use, with the first such value."""
    values = rows.columns[column]
    kind = describe_type(values.type)
    present = pc.index(pc.is_valid(values), True).as_py()
    example = None if present < 0 else (rows.locate(present), _show(values[present].as_py()))
    if expected == "numbers" and kind not in errors.WRITE_INSTEAD:
        return errors.column_not_numeric(rows.source, column, kind, types.is_temporal(values.type))
    return errors.wrong_column_type(rows.source, column, kind, expected, example)


def _show(value: object) -> str:
    """Return a value as JSON. `array_from_values` stores a nested value as its text, inside of a list or struct."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], str) and value[0][:1] in ("[", "{", "("):
        return value[0]
    if isinstance(value, dict) and value.keys() == {""}:
        return str(value[""])
    return errors.format_json(value)
