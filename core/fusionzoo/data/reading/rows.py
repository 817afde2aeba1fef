"""A block of raw rows that knows which file and row number each row came from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo.data.reading.number_text import format_number

PANDAS_MISSING_TYPES = frozenset({"NAType", "NaTType"})  # by name: this module does not import pandas


@dataclass(frozen=True)
class Rows:
    """A block of raw rows.

    `typed` is False if the format stores every value as text (CSV, TSV). `offsets`, [rows] int64, is set once rows
    were filtered out: the offset of each remaining row from `first_row`.
    """

    columns: Mapping[str, pa.Array]
    source: str
    first_row: int  # row number of the block's first row in `source`; starts at 1 and does not count the header
    typed: bool
    offsets: np.ndarray | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def locate(self, index: int) -> str:
        """Return the file and row number of row `index` of this block, for messages."""
        return f"{self.source} row {self.first_row + (index if self.offsets is None else self.offsets[index])}"

    def filter(self, mask: np.ndarray) -> Rows:
        """Return the rows for which `mask`, [rows] bool, is True, in their order."""
        selection = pa.array(mask)
        offsets = np.flatnonzero(mask) if self.offsets is None else self.offsets[mask]
        columns = {name: values.filter(selection) for name, values in self.columns.items()}
        return replace(self, columns=columns, offsets=offsets)


def rows_from_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], source: str = "records") -> Rows:
    """Build rows from mappings of plain Python values, such as parsed JSON. An absent key is a missing value."""
    arrays = {column: array_from_values([record.get(column) for record in records]) for column in columns}
    return Rows(arrays, source, 1, typed=True)


def array_from_values(values: list[Any]) -> pa.Array:
    """Return an array of Arrow's own type if the values share one, otherwise an array of each value's text.

    None, NaN, NaT and pandas.NA are null.

    One nested value makes the whole column nested, so that every reader of the column rejects it.
    """
    if {type(value).__name__ for value in values} & PANDAS_MISSING_TYPES:
        values = [None if type(value).__name__ in PANDAS_MISSING_TYPES else value for value in values]
    types = {type(value) for value in values if value is not None}
    if types & {list, dict}:
        return pa.array([[json.dumps(value)] for value in values])
    if types <= {int, float} or len(types) == 1:
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            pass  # integers beyond 64 bits, or half of a surrogate pair: stored as text below
    texts = [format_number(value) if isinstance(value, float) else value for value in values]
    encodable = [text if text is None else str(text).encode("utf-8", "replace").decode() for text in texts]
    return pa.array(encodable, pa.string())


def to_plain_layout(values: pa.Array) -> pa.Array:
    """Return the values in the plain layout of their type: dictionaries and string views only store text compactly."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string()) if str(values.type) == "string_view" else values
