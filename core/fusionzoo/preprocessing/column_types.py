"""One Arrow type for each column: blocks of JSON, and part files, may have the values of a column in several types."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.ids import find_common_type
from fusionzoo.data.reading.column_text import has_text_form, values_as_text
from fusionzoo.data.reading.plain_values import json_list_type, json_texts
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import is_nested
from fusionzoo.errors.preprocess_errors import mixed_column_types

MAX_EXACT_INTEGER = 2**53  # the largest integer up to which a float64 holds all integers


class ColumnTypes:
    """Collects the types of the columns of several blocks.

    `is_typed` says whether every block came from a format that stores types.
    """

    def __init__(self) -> None:
        self.is_typed = True
        self._types: dict[str, set[pa.DataType]] = {}
        self._with_large_integers: set[str] = set()

    def add(self, rows: Rows) -> None:
        """Add a block of rows."""
        self.is_typed &= rows.typed
        for name, values in rows.columns.items():
            storable = to_storable(values)
            self._types.setdefault(name, set()).add(storable.type)
            if pa.types.is_integer(storable.type) and name not in self._with_large_integers:
                bounds = pc.min_max(storable).as_py()
                if max(abs(bounds["min"] or 0), abs(bounds["max"] or 0)) > MAX_EXACT_INTEGER:
                    self._with_large_integers.add(name)

    def make_schema(self, columns: Sequence[str], id_name: str | None) -> pa.Schema:
        """Return one type for each column, which holds all of its values without loss; ids as a training job has them.

        Raises:
            errors.DataError: a column has values of types that no type can hold.
        """
        problems, fields = [], []
        for name in columns:
            types = self._types[name]
            shared = find_shared_type(types, name in self._with_large_integers)
            if name == id_name and not any(map(is_nested, types)):
                shared = find_common_type(types)
            if any(not _can_convert(arrow_type, shared) for arrow_type in types):
                problems.append(mixed_column_types(name, sorted(map(str, types))))
            fields.append(pa.field(name, shared))
        if problems:
            raise errors.DataError(problems)
        return pa.schema(fields)


def find_shared_type(types: set[pa.DataType], has_large_integers: bool) -> pa.DataType:
    """Return the type that holds the values of all these types; string if there is no other."""
    value_types = types - {pa.null()}
    if len(value_types) <= 1:
        return next(iter(value_types), pa.null())
    if all(pa.types.is_integer(arrow_type) and arrow_type != pa.uint64() for arrow_type in value_types):
        return pa.int64()
    if all(pa.types.is_integer(arrow_type) or _is_float(arrow_type) for arrow_type in value_types):
        has_floats = any(map(_is_float, value_types))
        return pa.float64() if has_floats and not has_large_integers else pa.string()
    if all(map(_is_text, value_types)):
        return pa.large_string()
    if all(map(_is_list, value_types)):
        elements = {arrow_type.value_type for arrow_type in value_types}
        element = find_shared_type(elements, has_large_integers=True)
        is_mixed = _is_text(element) and not all(_is_text(part) or pa.types.is_null(part) for part in elements)
        return pa.string() if is_mixed else pa.list_(element)
    return pa.string()


def to_storable(values: pa.Array) -> pa.Array:
    """Return the values in a type that Parquet files have; arrays and objects of JSON are read as text.

    Arrays become lists if their elements have one plain type. Others, and objects, remain the text of their JSON.
    """
    if values.type == json_list_type():
        return _parse_json_lists(json_texts(values))
    if pa.types.is_struct(values.type) and values.type.num_fields == 1 and values.type[0].name == "":
        return pa.array([None if value is None else value[""] for value in values.to_pylist()], pa.string())
    return values


def convert(values: pa.Array, arrow_type: pa.DataType) -> pa.Array:
    """Return values of a block in the type that `ColumnTypes.make_schema` found for their column."""
    values = to_storable(values)
    if values.type == arrow_type:
        return values
    if pa.types.is_null(values.type):
        return pa.nulls(len(values), arrow_type)
    if _is_list(arrow_type):
        return pa.array(values.to_pylist(), arrow_type)
    if pa.types.is_string(arrow_type) and _is_list(values.type):
        return pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values.to_pylist()])
    if pa.types.is_string(arrow_type):
        return values_as_text(values)
    if pa.types.is_float32(values.type):  # 0.1 is 0.1, not 0.10000000149, as wherever training reads it
        return values.cast(pa.string()).cast(arrow_type)
    return values.cast(arrow_type)


def convert_rows(rows: Rows, schema: pa.Schema) -> Rows:
    """Return a block of rows with each column in the type of the schema."""
    columns: Mapping[str, pa.Array] = {field.name: convert(rows.columns[field.name], field.type) for field in schema}
    return Rows(columns, rows.source, rows.first_row, rows.typed, rows.offsets)


def _can_convert(arrow_type: pa.DataType, shared: pa.DataType) -> bool:
    if arrow_type == shared or pa.types.is_null(arrow_type) or not pa.types.is_string(shared):
        return True
    return has_text_form(arrow_type) or _is_list(arrow_type)


def _is_float(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_float32(arrow_type) or pa.types.is_float64(arrow_type))


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type))


def _is_list(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type))


def _parse_json_lists(texts: Sequence[str | None]) -> pa.Array:
    try:
        parsed = [None if text is None else json.loads(text) for text in texts]
        if all(value is None or isinstance(value, list) for value in parsed):
            lists = pa.array(parsed)
            if pa.types.is_null(lists.type) or not is_nested(lists.type.value_type):
                return lists
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass  # elements of several types, or text that is no JSON: kept as text
    return pa.array(texts, pa.string())
