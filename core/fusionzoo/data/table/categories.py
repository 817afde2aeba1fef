"""Categories to ids: 0 is MISSING, 1 is UNKNOWN (rare in train, or never seen there), 2.. are values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.reading.channel import Rows, as_text

MISSING, UNKNOWN = 0, 1
MOST_CATEGORIES = 2_000_000  # in one column; counting them takes some 150 bytes each
FORMS = ((r"^(-?[0-9]+)\.0+$", r"\1"), (r"^-0$", "0"), (r"^(?i:true)$", "True"), (r"^(?i:false)$", "False"))


@dataclass(frozen=True)
class CategoryEncoder:
    """One category column: its values in the order of their ids, from 2 on."""

    name: str
    values: tuple[str, ...]

    @property
    def cardinality(self) -> int:
        """Number of ids: values, MISSING and UNKNOWN."""
        return len(self.values) + 2

    def encode(self, rows: Rows) -> np.ndarray:
        """Ids [rows] int64.

        Raises:
            errors.DataError: the column holds lists or other nested values.
        """
        text = canonical_category(rows, self.name)
        index = pc.index_in(text, value_set=pa.array(self.values, pa.string()))
        ids = pc.add(pc.fill_null(index.cast(pa.int64()), UNKNOWN - 2), 2).to_numpy(zero_copy_only=False)
        return np.where(text.is_null().to_numpy(zero_copy_only=False), MISSING, ids)


def canonical_category(rows: Rows, column: str) -> pa.Array:
    """A column's values as text, the same from every format: 3, 3.0 and "3.0" are "3"; null and "" are null.

    Truth values are True and False, however a format writes them.

    Raises:
        errors.DataError: the values are nested.
    """
    text = as_text(rows, column)
    for pattern, form in FORMS:
        text = pc.replace_substring_regex(text, pattern, form)
    return text


def count(counter: Counter[str], values: pa.Array, column: str) -> None:
    """Add a block's canonical values to the running counts of a column.

    Raises:
        errors.DataError: there are more than `MOST_CATEGORIES` different ones.
    """
    for entry in pc.value_counts(values.drop_null()).to_pylist():
        counter[entry["values"]] += entry["counts"]
    if len(counter) > MOST_CATEGORIES:
        counter.clear()
        raise errors.DataError([errors.too_many_categories(column, MOST_CATEGORIES)])


def fit(name: str, counts: Mapping[str, int], min_count: int) -> CategoryEncoder:
    """An encoder over the values that occur at least `min_count` times, most frequent first, ties by text."""
    kept = [value for value, number in counts.items() if number >= min_count]
    return CategoryEncoder(name, tuple(sorted(kept, key=lambda value: (-counts[value], value))))
