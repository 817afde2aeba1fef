"""How large the values of a Parquet file are, before and after they are decoded.

A text that occurs in many rows is stored once, in the dictionary of its column, so the stored size is no bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fusionzoo import errors
from fusionzoo.data.reading.limits import MIN_SUSPECT_BYTES
from fusionzoo.data.reading.part_file import PartFile

MIN_DICTIONARY_BYTES = 2**16  # 256 values of a smaller dictionary are small too
DICTIONARY_ENCODINGS = frozenset({"PLAIN_DICTIONARY", "RLE_DICTIONARY"})


def read_column_chunks(parquet: pq.ParquetFile, group: int, columns: Sequence[str]) -> list[pq.ColumnChunkMetaData]:
    """Return what the footer says of the stored chunks of `columns` in a row group; a nested column has several.

    Raises:
        OSError: the footer is damaged. Arrow checks its entries when it begins to read their columns, even if it reads
            no row; without that, `RowGroupMetaData.column` would abort the process.
    """
    paths = (parquet.schema.column(i).path for i in range(parquet.metadata.num_columns))
    chosen = [i for i, path in enumerate(paths) if any(f"{path}.".startswith(f"{column}.") for column in columns)]
    next(parquet.reader.iter_batches(0, row_groups=[group], column_indices=chosen), None)
    metadata = parquet.metadata.row_group(group)
    return [metadata.column(i) for i in chosen]


def check_expansion(file: PartFile, chunks: Iterable[pq.ColumnChunkMetaData]) -> None:
    """Raise errors.DataError if a column of a row group decompresses to far more than its stored size.

    A page is decompressed at once, so this is checked before.
    """
    for chunk in chunks:
        stored, expanded = chunk.total_compressed_size, chunk.total_uncompressed_size
        if expanded > max(MIN_SUSPECT_BYTES, stored * file.options.max_expansion):
            raise errors.DataError([errors.suspicious_compression(file.name, stored, file.options.max_expansion)])


def check_length(file: PartFile, length: int, first_row: int) -> None:
    """Raise errors.DataError if a value of the rows from `first_row` on is longer than a row may be."""
    if length > file.options.max_row_bytes:
        where = f"{file.name} row {first_row} or a row soon after"
        raise errors.DataError([errors.row_too_long(where, file.options.max_row_bytes)])


def longest_text(values: pa.Array) -> int:
    """Return the length in bytes of the longest text or bytes; 0 for other types."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_binary, pa.types.is_large_binary)
    if not any(is_kind(values.type) for is_kind in kinds):
        return 0
    return pc.max(pc.binary_length(values)).as_py() or 0


def find_longest_dictionary_value(
    opened: tuple[pq.ParquetFile, pa.NativeFile],
    group: int,
    columns: Sequence[str],
    chunks: Iterable[pq.ColumnChunkMetaData],
    buffer_size: int,
) -> int:
    """Return the length of the longest value in the large dictionaries of a row group; 0 if there are none."""
    parquet, source = opened
    large = [
        chunk.path_in_schema
        for chunk in chunks
        if chunk.total_uncompressed_size > MIN_DICTIONARY_BYTES
        and DICTIONARY_ENCODINGS & set(chunk.encodings)
        and chunk.physical_type == "BYTE_ARRAY"
        and chunk.path_in_schema in columns
    ]
    if not large:
        return 0
    dictionaries = pq.ParquetFile(
        source, metadata=parquet.metadata, read_dictionary=large, buffer_size=buffer_size, pre_buffer=False
    )
    batch = next(dictionaries.iter_batches(1, row_groups=[group], columns=large), None)
    return 0 if batch is None else max(map(longest_text, batch.columns))
