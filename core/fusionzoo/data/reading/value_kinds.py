"""What messages call the values of a column: the words of JSON, and what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import types

from fusionzoo import errors
from fusionzoo.data.reading.extension_types import describe_extension, is_uuid
from fusionzoo.data.reading.plain_values import json_list_type, json_texts

if TYPE_CHECKING:
    from fusionzoo.data.reading.rows import Rows

Expected = Literal["text or plain values", "numbers"]


def is_nested(arrow_type: pa.DataType) -> bool:
    """Return whether values of an Arrow type have parts. For pyarrow before 15, a list of a fixed size has none."""
    return bool(types.is_nested(arrow_type) or types.is_fixed_size_list(arrow_type))


def describe_type(arrow_type: pa.DataType) -> str:
    """Return what values of an Arrow type are called, in the plural."""
    if is_uuid(arrow_type):
        return "UUIDs"
    if isinstance(arrow_type, pa.BaseExtensionType):
        return describe_extension(arrow_type)
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
    present = _find_example(values)
    if types.is_timestamp(values.type):
        values = values.cast(pa.timestamp(values.type.unit))  # this machine may not know the time zone
    example = None if present < 0 else (rows.locate(present), _show(values[present].as_py()))
    if expected == "numbers" and kind not in errors.WRITE_INSTEAD:
        return errors.column_not_numeric(rows.source, column, kind, types.is_temporal(values.type))
    return errors.wrong_column_type(rows.source, column, kind, expected, example)


def _find_example(values: pa.Array) -> int:
    """Return the index of the first value that is not null; of a column with arrays, of the first array; or -1."""
    if values.type == json_list_type():
        nested = (i for i, text in enumerate(json_texts(values)) if text is not None and text[:1] in ("[", "{", "("))
        return next(nested, -1)
    index: int = pc.index(pc.is_valid(values), True).as_py()
    return index


def _show(value: object) -> str:
    """Return a value as JSON. `array_from_values` stores a nested value as its text, inside of a list or struct."""
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict) and value[0].keys() == {""}:
        return _show(value[0])
    if isinstance(value, dict) and value.keys() == {""}:
        return str(value[""])
    return errors.format_json(value)
