"""Read Parquet in bounded memory.

Values are decoded in small slices, which are then joined into blocks: neither the number of rows nor the stored size
shows how long the texts are, because a text that occurs in many rows is stored once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from fusionzoo import errors
from fusionzoo.data.reading import blocks, parquet_sizes
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.data.reading.temporary_copy import copy_stream, temporary_copy

SLICE_ROWS, SLICE_LENGTH = 256, 2 * 2**20  # maximum rows and bytes that are decoded at once
MIN_SUSPECT_BYTES = 2**30  # correct files, too, store a repeated text once
READ_BUFFER = 2**20  # bytes per read
# Of INT96 timestamps, which Spark, Glue and Hive write. In nanoseconds, Arrow returns other dates without an error for
# those before 1677 and after 2262, such as 9999-12-31.
INT96_UNIT = "us"
UNTYPED_KEY = b"fusionzoo.untyped"
"""In the metadata of a file that preprocessing wrote from CSV or TSV, which have no types: they are read alike."""


def list_columns(file: PartFile, _: Sequence[str]) -> list[str]:
    """Return the column names of the schema."""
    with _open_parquet(file) as (parquet, _source):
        return list(parquet.schema_arrow.names)


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` of the file in blocks.

    Raises:
        errors.DataError: a text is not valid UTF-8.
    """
    with _open_parquet(file) as (parquet, source):
        first_row, meter = 1, file.make_meter()
        is_typed = UNTYPED_KEY not in (parquet.schema_arrow.metadata or {})
        meter.min_suspect_bytes = MIN_SUSPECT_BYTES
        for block in _join_slices(_read_slices(file, (parquet, source), columns)):
            meter.add(sum(part.nbytes for part in block))
            arrays = {c: pa.concat_arrays([part.column(i) for part in block]) for i, c in enumerate(columns)}
            _check_utf8(file, arrays)
            yield Rows(arrays, file.name, first_row, is_typed)
            first_row += sum(map(len, block))


@contextmanager
def _open_parquet(file: PartFile) -> Iterator[tuple[pq.ParquetFile, pa.NativeFile]]:
    """Yield the file and its source."""
    # Without a buffer size, or with pre-buffering, Arrow would hold a whole row group of each column in memory.
    with (
        file.open() as stream,
        _make_seekable(file, stream) as seekable,
        pa.PythonFile(seekable, mode="r") as source,
        pq.ParquetFile(
            source, buffer_size=READ_BUFFER, pre_buffer=False, coerce_int96_timestamp_unit=INT96_UNIT
        ) as parquet,
    ):
        yield parquet, source


@contextmanager
def _make_seekable(file: PartFile, stream: BinaryIO) -> Iterator[BinaryIO]:
    """Yield the stream, or a temporary decompressed copy of it: seeking backwards in gzip restarts from the start."""
    if not file.gzipped:
        yield stream
        return
    with temporary_copy(file.name) as copy:
        copy_stream(stream, copy, file.name)
        yield copy


def _check_utf8(file: PartFile, columns: Mapping[str, pa.Array]) -> None:
    """Raise errors.DataError if a text is not UTF-8, which writers of Parquet are not required to check."""
    problems = []
    for name, values in columns.items():
        try:
            values.validate(full=pa.types.is_string(values.type) or pa.types.is_large_string(values.type))
        except pa.ArrowInvalid as cause:
            problems.append(errors.column_not_utf8(file.name, name, cause))
    if problems:
        raise errors.DataError(problems)


def _read_slices(
    file: PartFile, opened: tuple[pq.ParquetFile, pa.NativeFile], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Yield all rows in order, a few at a time.

    Raises:
        errors.DataError: a value is longer than a row may be, or a column expands to too much.
    """
    first_row, (parquet, _) = 1, opened
    for group in range(parquet.num_row_groups):
        chunks = parquet_sizes.read_column_chunks(parquet, group, columns)
        parquet_sizes.check_expansion(file, chunks)
        batch_rows = _choose_batch_rows(parquet.metadata.row_group(group).num_rows, chunks)
        longest = parquet_sizes.find_longest_dictionary_value(opened, group, columns, chunks, READ_BUFFER)
        parquet_sizes.check_length(file, longest, first_row)
        batch_rows = max(1, min(batch_rows, blocks.BLOCK_LENGTH // max(1, longest)))
        for batch in parquet.iter_batches(batch_rows, row_groups=[group], columns=list(columns)):
            arrays = [to_plain_layout(batch.column(c), batch.schema.field(c).metadata) for c in columns]
            decoded = pa.RecordBatch.from_arrays(arrays, list(columns))
            longest = max(map(parquet_sizes.longest_text, decoded.columns), default=0)
            parquet_sizes.check_length(file, longest, first_row)
            first_row += len(decoded)
            step = max(1, len(decoded) * SLICE_LENGTH // max(1, decoded.nbytes))
            yield from (decoded.slice(start, step) for start in range(0, len(decoded), step))


def _choose_batch_rows(rows: int, chunks: Iterable[pq.ColumnChunkMetaData]) -> int:
    stored_bytes: int = sum(chunk.total_uncompressed_size for chunk in chunks)
    return max(1, min(SLICE_ROWS, blocks.BLOCK_ROWS, rows * SLICE_LENGTH // max(1, stored_bytes)))


def _join_slices(slices: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Group slices into blocks of at most `BLOCK_ROWS` rows; the slice that exceeds `BLOCK_LENGTH` ends its block."""
    block: list[pa.RecordBatch] = []
    rows = length = 0
    for part in slices:
        if block and (rows + len(part) > blocks.BLOCK_ROWS or length >= blocks.BLOCK_LENGTH):
            yield block
            block, rows, length = [], 0, 0
        block.append(part)
        rows += len(part)
        length += part.nbytes
    if block:
        yield block
