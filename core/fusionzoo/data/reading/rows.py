"""A block of raw rows that knows which file and row number each row came from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo.data.reading.extension_types import FieldMetadata, resolve_extension
from fusionzoo.data.reading.plain_values import array_from_values
from fusionzoo.errors.value_problems import MAX_EXAMPLES, Example, RowPlace


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

    def locate(self, index: int) -> RowPlace:
        """Return the file and row number of row `index` of this block, for messages."""
        return RowPlace(self.source, self.row_number(index))

    def locate_first(self, indices: np.ndarray) -> list[RowPlace]:
        """Return the places of the first `MAX_EXAMPLES` of these rows, for messages."""
        return [self.locate(int(index)) for index in indices[:MAX_EXAMPLES]]

    def examples(self, indices: np.ndarray, values: pa.Array) -> list[Example]:
        """Return the places of the first `MAX_EXAMPLES` of these rows with their values in an array, [rows]."""
        return [(self.locate(int(index)), values[int(index)].as_py()) for index in indices[:MAX_EXAMPLES]]

    def row_number(self, index: int) -> int:
        """Return the row number of row `index` of this block in its file; rows start at 1."""
        return self.first_row + (index if self.offsets is None else int(self.offsets[index]))

    def row_ids(self) -> pa.Array:
        """Return FILE:ROW for each row, such as "train/part-0.csv:1": unique in a job, and the same in every job."""
        offsets = range(len(self)) if self.offsets is None else self.offsets.tolist()
        return pa.array([f"{self.source}:{self.first_row + offset}" for offset in offsets], pa.string())

    def filter(self, mask: np.ndarray) -> Rows:
        """Return the rows for which `mask`, [rows] bool, is True, in their order."""
        selection = pa.array(mask)
        offsets = np.flatnonzero(mask) if self.offsets is None else self.offsets[mask]
        columns = {name: values.filter(selection) for name, values in self.columns.items()}
        return replace(self, columns=columns, offsets=offsets)

    def slice(self, start: int, stop: int) -> Rows:
        """Return the rows from `start` to before `stop`, without a copy of their values."""
        columns = {name: values.slice(start, stop - start) for name, values in self.columns.items()}
        if self.offsets is not None:
            return replace(self, columns=columns, offsets=self.offsets[start:stop])
        return replace(self, columns=columns, first_row=self.first_row + start)

    def with_null_columns(self, names: Sequence[str]) -> Rows:
        """Return the rows with further columns, which are null in every row."""
        return replace(self, columns={**self.columns, **{name: pa.nulls(len(self)) for name in names}})


def rows_from_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], source: str = "records") -> Rows:
    """Build rows from mappings of plain Python values, such as parsed JSON. An absent key is a missing value."""
    arrays = {column: array_from_values([record.get(column) for record in records]) for column in columns}
    return Rows(arrays, source, 1, typed=True)


def rows_with_numbers(columns: Mapping[str, pa.Array], source: str, numbers: Sequence[int], typed: bool) -> Rows:
    """Return rows with these row numbers, which ascend; some may be left out."""
    first, is_complete = numbers[0], numbers[-1] - numbers[0] + 1 == len(numbers)
    return Rows(columns, source, first, typed, None if is_complete else np.array(numbers, np.int64) - first)


def to_plain_layout(values: pa.Array, metadata: FieldMetadata | None = None) -> pa.Array:
    """Return the values in the plain layout of their type: others, such as dictionaries, only store them compactly.

    Extension types are resolved, see `resolve_extension`; `metadata` is that of the field.
    """
    if str(values.type).startswith("run_end_encoded"):  # by name, because old versions of Arrow lack the function
        values = pc.run_end_decode(values)
    if pa.types.is_dictionary(values.type):
        values = pa.DictionaryArray.from_arrays(values.indices, to_plain_layout(values.dictionary)).dictionary_decode()
    plain_types = {"string_view": pa.string(), "binary_view": pa.binary()}
    if str(values.type) in plain_types:
        values = values.cast(plain_types[str(values.type)])
    return resolve_extension(values, metadata)
