"""Read a part file together with the columns that the names of its folders give, such as `country=de`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pyarrow as pa

from fusionzoo.data.reading.formats import FORMATS
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows


def list_columns(file: PartFile, columns: Sequence[str]) -> list[str] | None:
    """Return the columns of the file and of its folders, like `FileFormat.list_columns`."""
    own = FORMATS[file.format].list_columns(file, [column for column in columns if column not in dict(file.partition)])
    return None if own is None else [*own, *(name for name in dict(file.partition) if name not in own)]


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` in blocks. A column that the file has itself is read from the file."""
    read = FORMATS[file.format].read_rows
    partition = {name: value for name, value in file.partition if name in columns}
    own = FORMATS[file.format].list_columns(file, list(partition)) if partition else []
    if own is None:
        return
    partition = {name: value for name, value in partition.items() if name not in own}
    if not partition:
        yield from read(file, columns)
        return
    # At least one column of the file is read, because the file knows the number of rows.
    for rows in read(file, [column for column in columns if column not in partition] or own[:1]):
        constants = {name: pa.array([value] * len(rows), pa.string()) for name, value in partition.items()}
        yield replace(rows, columns={column: {**rows.columns, **constants}[column] for column in columns})
