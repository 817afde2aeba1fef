"""Ids of rows: kept as they came, in a type that all blocks of a split can share."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from fusionzoo.data.reading.channel import plain_text


def common_type(types: set[pa.DataType]) -> pa.DataType:
    """The type that ids of all these types can share without loss; text where there is no other."""
    kinds = types - {pa.null()}
    if len(kinds) <= 1:
        return next(iter(kinds), pa.null())
    if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in kinds):
        return pa.int64()
    return pa.string()


def common_type_exists(types: set[pa.DataType]) -> bool:
    """Whether `common_type` loses nothing: bytes and durations have no text."""
    kinds = types - {pa.null()}
    try:
        return len(kinds) <= 1 or all(plain_text(pa.array([], kind)) is not None for kind in kinds)
    except pa.ArrowException:
        return False


def in_type(ids: pa.Array, kind: pa.DataType) -> pa.Array:
    """Ids in their common type."""
    if ids.type == kind:
        return ids
    return plain_text(ids) if kind == pa.string() else ids.cast(kind)


class DuplicateIds:
    """Counts ids that came before, by 64-bit hashes of their text: 8 bytes per row."""

    def __init__(self) -> None:
        self._hashes: list[np.ndarray] = []

    def add(self, ids: pa.Array) -> None:
        """Some more ids."""
        as_text = pa.types.is_floating(ids.type) or pa.types.is_date(ids.type) or pa.types.is_timestamp(ids.type)
        values = (plain_text(ids) if as_text else ids).to_pylist()
        hashes = (hash(value if value is None else str(value)) for value in values)
        self._hashes.append(np.fromiter(hashes, np.int64, len(values)))

    def count(self) -> int:
        """How many came before; null ids count as one."""
        hashes = np.concatenate([np.zeros(0, np.int64), *self._hashes])
        return len(hashes) - len(np.unique(hashes))
