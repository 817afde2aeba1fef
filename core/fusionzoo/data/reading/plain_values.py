"""Lists of Python values as Arrow arrays. Other values of a list do not affect its text or number."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Mapping
from types import NoneType
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.number_text import format_number
from fusionzoo.errors.wording import printable

# By name: this module does not import pandas.
_MISSING_TYPES = frozenset({"NoneType", "NAType", "NaTType", "MaskedConstant"})
_TYPES_OF_ONE_COLUMN = (
    {str},
    {bool},
    {int, float},
    {datetime.date},
    {datetime.datetime},
    {datetime.time},
    {bytes},
    {datetime.timedelta},
)


def array_from_values(values: list[Any]) -> pa.Array:
    """Return an array of Arrow's own type if the values share one, otherwise an array of each value's text.

    None, NaN, NaT, pandas.NA, numpy.ma.masked and Arrow nulls are null.

    One nested value makes the whole column nested, and one that has no text (bytes, a duration) gives the column its
    type, so that every reader of the column rejects it.
    """
    types = set(map(type, values)) - {NoneType}
    if not types <= {str, int, float, bool, bytes, list}:
        values = [to_plain_value(value) for value in values]
        types = set(map(type, values)) - {NoneType}
    if dict in types or list in types:
        return _nested_array(values)
    for type_without_text in (bytes, datetime.timedelta):
        if type_without_text in types:
            values = [value if isinstance(value, type_without_text) else None for value in values]
            types = {type_without_text}
    if any(types <= alternatives for alternatives in _TYPES_OF_ONE_COLUMN):
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            pass  # integers beyond 64 bits, or half of a surrogate pair: stored as text below
    return pa.array([_as_text(value) for value in values], pa.string())


def array_from_ids(values: list[Any]) -> pa.Array:
    """Return an array that keeps the type of each value of JSON, whatever the others are.

    It is of Arrow's own type if the values share one, otherwise of `json_value_type`. NaN and nested values are as in
    `array_from_values`.
    """
    types = set(map(type, values)) - {NoneType}
    if not types <= {str, int, float, bool}:
        return array_from_values(values)
    if len(types) <= 1:
        for arrow_type in (pa.int64(), pa.uint64()) if types == {int} else (None,):
            try:
                return pa.array(values, arrow_type, from_pandas=True)
            except (pa.ArrowException, OverflowError, UnicodeEncodeError):
                pass  # integers beyond 64 bits, or half of a surrogate pair
    is_missing = [value is None or value != value for value in values]
    encoded = [
        None if missing else {"": json.dumps(value).encode()} for value, missing in zip(values, is_missing, strict=True)
    ]
    return pa.array(encoded, json_value_type())


def json_value_type() -> pa.DataType:
    """Return the type of ids that share no type: each value is its JSON. No file format has this type."""
    return pa.struct([("", pa.binary())])


def json_values(values: pa.Array) -> list[Any]:
    """Return the values of an array of `json_value_type`; None for null."""
    return [None if value is None else json.loads(value[""]) for value in values.to_pylist()]


def _nested_array(values: list[Any]) -> pa.Array:
    """Return an array of structs if the first nested value is an object, otherwise of `json_list_type`."""
    first = next(value for value in values if isinstance(value, dict | list))
    if isinstance(first, dict):
        return pa.array(
            [{"": errors.format_json(value)} if isinstance(value, dict | list) else None for value in values]
        )
    is_missing = [value is None or (isinstance(value, float) and value != value) for value in values]
    lists = [None if missing else [{"": _as_json(value)}] for value, missing in zip(values, is_missing, strict=True)]
    return pa.array(lists, json_list_type())


def json_list_type() -> pa.DataType:
    """Return the type of a column with arrays whose elements may have any types: each value is the text of its JSON.

    A value that is not an array, in a column that has one, is JSON too. No file format has this type.
    """
    return pa.list_(pa.struct([("", pa.string())]))


def json_texts(values: pa.Array) -> list[str | None]:
    """Return the JSON of each value of an array of `json_list_type`; None for null."""
    return [None if value is None else value[0][""] for value in values.to_pylist()]


def _as_json(value: Any) -> str:
    try:
        return printable(json.dumps(value, ensure_ascii=False, default=_to_json_value, skipkeys=True))
    except (ValueError, RecursionError):
        return errors.format_json(value)  # nested too deeply to be a list of labels


def _to_json_value(value: Any) -> Any:
    plain = to_plain_value(value)
    if isinstance(plain, datetime.date | datetime.time):
        return str(plain)
    is_json = plain is None or isinstance(plain, bool | int | float | str | list | dict)
    return plain if is_json else {type(plain).__name__: str(plain)}  # bytes and durations have no text


def to_plain_value(value: Any) -> Any:
    """Return a scalar of pandas, NumPy, Arrow or Python in a plain type of Python; None if it is missing.

    The plain types are bool, int, float, str, bytes, date, time and timedelta, datetime without a time zone, and list
    for nested values. A value that none of them holds without loss is returned as text.
    """
    if type(value).__name__ in _MISSING_TYPES:
        return None
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, np.generic):
        value = _from_numpy(value)
    elif isinstance(value, pa.Scalar):
        value = _from_arrow(value)
    if isinstance(value, int):
        return value if isinstance(value, bool) else int(value)
    if isinstance(value, str):
        return str.__str__(value)  # an Enum's member has another text than its value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, float):
        return None if value != value else float(value)
    if isinstance(value, decimal.Decimal):
        return None if value.is_nan() else str(value)
    if isinstance(value, datetime.datetime):
        is_exact = value.tzinfo is None and not getattr(value, "nanosecond", 0)
        return datetime.datetime.fromisoformat(value.isoformat()) if is_exact else str(value)
    if isinstance(value, datetime.time):
        return value if value.tzinfo is None else str(value)
    if isinstance(value, datetime.timedelta):
        return datetime.timedelta(value.days, value.seconds, value.microseconds)
    if value is None or isinstance(value, datetime.date):
        return value
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return list(value)
    return [str(value)] if hasattr(type(value), "__len__") else str(value)


def _from_numpy(value: np.generic) -> Any:
    if isinstance(value, np.datetime64 | np.timedelta64):
        if np.isnat(value):
            return None
        if isinstance(value, np.timedelta64):
            return datetime.timedelta(0)  # durations have neither text nor number in any role
        if np.datetime_data(value.dtype)[0] in ("Y", "M", "W", "D"):
            exact = value.astype("datetime64[D]").item()
        else:
            exact = value.astype("datetime64[us]").item() if value.astype("datetime64[us]") == value else None
        return exact if isinstance(exact, datetime.date) else str(value).replace("T", " ")
    if isinstance(value, np.float16 | np.float32):
        return None if np.isnan(value) else str(value)  # a float32 of 0.1 is 0.1, as in text files
    if isinstance(value, np.longdouble):
        return float(value)
    return value.item()


def _from_arrow(value: pa.Scalar) -> Any:
    if not value.is_valid:
        return None
    if pa.types.is_float16(value.type) or pa.types.is_float32(value.type):
        return _from_numpy(np.float32(value.as_py()))
    if pa.types.is_timestamp(value.type):
        value = np.datetime64(value.value, value.type.unit) if value.type.tz is None else value.as_py()
        return _from_numpy(value) if isinstance(value, np.datetime64) else value
    return value.as_py()


def _as_text(value: Any) -> str | None:
    if isinstance(value, float):
        return format_number(value)
    if type(value) is int:
        return str(decimal.Decimal(value))  # Python refuses to write integers of more than 4,300 digits
    return None if value is None else printable(str(value))  # halves of surrogate pairs stay different
