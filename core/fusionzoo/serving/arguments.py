"""Check the arguments of a predictor, and choose how to read the rows."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.local_paths import URL
from fusionzoo.serving.arrow_tables import TableRows
from fusionzoo.serving.data_frames import DataFrameRows, is_data_frame
from fusionzoo.serving.records import RecordRows, is_series
from fusionzoo.serving.row_files import FileRows
from fusionzoo.serving.row_source import RowSource


def choose_source(rows: object, options: ReadOptions) -> RowSource:
    """Return the reader of rows of any kind; `options` say how files are read.

    Raises:
        errors.PathError: the rows are a URL.
        errors.PredictorInputError: the rows are of no kind that a predictor accepts.
    """
    if is_data_frame(rows):
        return DataFrameRows(rows)
    if isinstance(rows, pa.Table | pa.RecordBatch):
        return TableRows(rows)
    if hasattr(rows, "__arrow_c_stream__") and not is_series(rows):  # a series may hold records
        return TableRows(_read_arrow_stream(rows))
    if isinstance(rows, str | Path):
        check_not_url("rows", rows)
        if not os.path.exists(rows):  # noqa: PTH110  a long text is not a path, which Path.exists reports as an OSError
            raise errors.PredictorInputError.missing_path(rows)
        return FileRows(Path(rows), options)
    return RecordRows(rows)


def _read_arrow_stream(rows: object) -> pa.Table:
    """Return the table of an object with Arrow's PyCapsule interface, such as a polars DataFrame.

    Raises:
        errors.PredictorInputError: it has one column, such as a polars Series, or a type that pyarrow does not know.
    """
    try:
        return pa.table(rows)
    except pa.ArrowException as cause:
        raise errors.PredictorInputError.unreadable_table(rows, cause) from cause


def check_not_url(name: str, path: str | Path) -> None:
    """Raise errors.PathError if the path, an argument with this name, is a URL."""
    if URL.match(str(path)):
        raise errors.PathError.url(name, str(path))


def check_batch_size(batch_size: int) -> None:
    """Raise errors.PredictorInputError if the batch size is not an integer of at least 1."""
    if not _is_count(batch_size):
        raise errors.PredictorInputError.batch_size(batch_size)


def check_threads(threads: int | None) -> None:
    """Raise errors.PredictorInputError if the number of threads is neither None nor an integer of at least 1."""
    if threads is not None and not _is_count(threads):
        raise errors.PredictorInputError.threads(threads)


def _is_count(value: object) -> bool:
    try:
        return not isinstance(value, bool) and operator.index(value) >= 1  # type: ignore[arg-type]
    except TypeError:
        return False


def check_blocks(parts: object, columns: Sequence[str]) -> Iterator[Rows]:
    """Yield the blocks of rows of `parts`.

    Raises:
        errors.PredictorInputError: `parts` or one of them is something else.
        errors.DataError: a block lacks one of `columns`.
    """
    if isinstance(parts, str | bytes | Mapping | Rows) or not isinstance(parts, Iterable):
        raise errors.PredictorInputError.not_rows(parts)
    for block in parts:
        if not isinstance(block, Rows):
            raise errors.PredictorInputError.not_rows(block)
        if missing := [column for column in columns if column not in block.columns]:
            present = list(block.columns)
            raise errors.DataError([errors.absent_column(block.source, column, present, columns) for column in missing])
        yield block
