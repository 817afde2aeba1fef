"""Category columns to ids: 0 is MISSING, 1 is UNKNOWN (rare in train, or never seen there), values start at 2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.reading.canonical_text import canonicalize_texts
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows

MISSING, UNKNOWN = 0, 1
FIRST_VALUE_ID = 2
MAX_LOOKED_UP = 64  # rows; for more, Arrow builds an index of all values, which takes longer than a few look-ups
MAX_CATEGORIES = 2_000_000  # per column; counting them needs about 150 bytes each


@dataclass(frozen=True)
class CategoryEncoder:
    """One category column: its values in the order of their ids, which start at 2."""

    name: str
    values: tuple[str, ...]

    @property
    def cardinality(self) -> int:
        """Number of ids: values, MISSING and UNKNOWN."""
        return len(self.values) + FIRST_VALUE_ID

    @cached_property
    def _value_set(self) -> pa.Array:
        return pa.array(self.values, pa.string())

    @cached_property
    def _id_of(self) -> dict[str | None, int]:
        return {None: MISSING, **{value: i for i, value in enumerate(self.values, start=FIRST_VALUE_ID)}}

    def encode(self, rows: Rows) -> np.ndarray:
        """Return ids, [rows] int64.

        Raises:
            errors.DataError: the column holds lists or other nested values.
        """
        text = canonicalize_column(rows, self.name)
        if len(text) <= MAX_LOOKED_UP:
            return np.array([self._id_of.get(value, UNKNOWN) for value in text.to_pylist()], np.int64)
        index = pc.index_in(text, value_set=self._value_set).cast(pa.int64())
        ids = pc.add(pc.fill_null(index, UNKNOWN - FIRST_VALUE_ID), FIRST_VALUE_ID).to_numpy(zero_copy_only=False)
        return np.where(text.is_null().to_numpy(zero_copy_only=False), MISSING, ids)


def canonicalize_column(rows: Rows, column: str) -> pa.Array:
    """Return the values of a column as text that is the same for every type and file format, see `canonical_text`.

    3, 3.0 and "3.00" become "3"; null and "" become null.

    Raises:
        errors.DataError: the values are nested.
    """
    return canonicalize_texts(column_as_text(rows, column))


def count_categories(counter: Counter[str], values: pa.Array, column: str) -> None:
    """Add a block of canonical values to the running counts of a column.

    Raises:
        errors.DataError: the column has more than `MAX_CATEGORIES` distinct values.
    """
    for entry in pc.value_counts(values.drop_null()).to_pylist():
        counter[entry["values"]] += entry["counts"]
    if len(counter) > MAX_CATEGORIES:
        counter.clear()
        raise errors.DataError([errors.too_many_categories(column, MAX_CATEGORIES)])


def fit_category_encoder(name: str, counts: Mapping[str, int], min_count: int) -> CategoryEncoder:
    """Return an encoder of the values that occur at least `min_count` times, most frequent first, ties by text."""
    frequent = [value for value, count in counts.items() if count >= min_count]
    return CategoryEncoder(name, tuple(sorted(frequent, key=lambda value: (-counts[value], value))))
