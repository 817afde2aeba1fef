"""Ids of rows: kept as they were read, in a type that all blocks of a split can share."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fusionzoo.data.reading.column_text import has_text_form, values_as_text
from fusionzoo.data.reading.plain_values import json_value_type
from fusionzoo.data.reading.value_kinds import describe_type


def find_common_type(types: set[pa.DataType]) -> pa.DataType:
    """Return the type that ids of all these types share without loss; string if there is no other."""
    known_types = {pa.string() if id_type == json_value_type() else id_type for id_type in types - {pa.null()}}
    if len(known_types) <= 1:
        return next(iter(known_types), pa.null())
    if all(pa.types.is_integer(id_type) and id_type != pa.uint64() for id_type in known_types):
        return pa.int64()
    return pa.string()


def has_common_type(types: set[pa.DataType]) -> bool:
    """Return whether `find_common_type` loses nothing. Bytes and durations have no text form."""
    known_types = types - {pa.null()}
    return len(known_types) <= 1 or all(map(has_text_form, known_types))


def can_be_written(arrow_type: pa.DataType) -> bool:
    """Return whether prediction files can hold values of a type: they have a text form, or are bytes."""
    return has_text_form(arrow_type) or describe_type(arrow_type) == "bytes"


def cast_ids(ids: pa.Array, id_type: pa.DataType) -> pa.Array:
    """Return ids in their common type."""
    if ids.type == id_type:
        return ids
    return values_as_text(ids) if id_type == pa.string() else ids.cast(id_type)


class DuplicateIds:
    """Counts ids that occurred before, by 64-bit hashes of their text. Memory: 8 bytes per row."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []

    def add(self, ids: pa.Array) -> None:
        """Add a block of ids."""
        needs_text = pa.types.is_floating(ids.type) or pa.types.is_date(ids.type) or pa.types.is_timestamp(ids.type)
        values = (values_as_text(ids) if needs_text else ids).to_pylist()
        hashes = (hash(value if value is None else str(value)) for value in values)
        self._hashes.append(np.fromiter(hashes, np.int64, len(values)))

    def count(self) -> int:
        """Return how many ids occurred before; all null ids count as the same id."""
        hashes = np.concatenate([np.zeros(0, np.int64), *self._hashes])
        return len(hashes) - len(np.unique(hashes))
