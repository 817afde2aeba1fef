"""The file formats of predictions: for each, how to write record batches and how to read the scores back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fusionzoo.artifacts.predictions import needs_text, plain_ids
from fusionzoo.data.reading.column_text import values_as_text

ROW_GROUP_BYTES = 32 * 2**20  # of a Parquet file, in memory; Arrow divides one with more than a million rows
Writer = Callable[[BinaryIO, pa.Schema, Iterator[pa.RecordBatch]], None]
Reader = Callable[[Path, list[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class PredictionFormat:
    """One file format.

    Attributes:
        write: writes record batches of a schema to an open file.
        read_scores: returns the named columns of a file, float32 [rows, columns].
        keeps_dictionaries: whether the format stores dictionary-encoded columns.
        has_types: whether a column has one type; otherwise batches may have other types than the schema.
    """

    write: Writer
    read_scores: Reader
    keeps_dictionaries: bool = False
    has_types: bool = True


def make_csv_writer(delimiter: str, *, header: bool = True) -> Writer:
    """Return the writer of a delimited format, with or without a header."""
    options = pacsv.WriteOptions(include_header=header, delimiter=delimiter)

    def write(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        schema = pa.schema([pa.field(f.name, pa.string() if _is_spelled(f.type) else f.type) for f in schema])
        with pacsv.CSVWriter(file, schema, write_options=options) as writer:
            for batch in batches:
                columns = [_spell(column) if _is_spelled(column.type) else column for column in batch.columns]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    return write


def _is_spelled(arrow_type: pa.DataType) -> bool:
    """Return whether a column of this type is written as the text that `_spell` returns."""
    is_spelled: bool = pa.types.is_float64(arrow_type) or pa.types.is_list(arrow_type) or needs_text(arrow_type)
    return is_spelled


def _spell(values: pa.Array) -> pa.Array:
    """Return lists as JSON, and numbers and times as Python and pandas write them: Arrow would write 1.0 as 1."""
    if needs_text(values.type):
        return values_as_text(values)
    if pa.types.is_list(values.type):
        texts = [None if value is None else json.dumps(value, ensure_ascii=False) for value in values.to_pylist()]
        return pa.array(texts, pa.string())
    return pa.array([None if number != number else str(number) for number in values.fill_null(nan).to_pylist()])


def _csv_reader(delimiter: str) -> Reader:
    def read(path: Path, columns: list[str]) -> NDArray[np.float32]:
        table = pacsv.read_csv(
            path,
            pacsv.ReadOptions(block_size=2**24 + 64 * len(columns)),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.float32())),
        )
        return _to_matrix(table)

    return read


def _write_parquet(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, schema) as writer:
        for table in _join_batches(schema, batches):
            writer.write_table(table)


def _join_batches(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Yield all rows in tables of bounded size, each of which becomes one row group: small ones make files large."""
    joined: list[pa.RecordBatch] = []
    size = 0
    for batch in batches:
        joined.append(batch)
        size += batch.nbytes
        if size >= ROW_GROUP_BYTES:
            yield pa.Table.from_batches(joined, schema)
            joined, size = [], 0
    if joined:
        yield pa.Table.from_batches(joined, schema)


def _read_parquet(path: Path, columns: list[str]) -> NDArray[np.float32]:
    with pq.ParquetFile(path) as file:
        return _to_matrix(file.read(columns=columns))


def _to_matrix(table: pa.Table) -> NDArray[np.float32]:
    matrix = np.empty((table.num_rows, table.num_columns), dtype=np.float32)
    for k, column in enumerate(table.columns):
        matrix[:, k] = column.to_numpy()
    return matrix


def _write_jsonl(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
    for batch in batches:
        rows = zip(*(_to_json_values(column) for column in batch.columns), strict=True)
        lines = [
            json.dumps(dict(zip(batch.schema.names, row, strict=True)), ensure_ascii=False, allow_nan=False)
            for row in rows
        ]
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))  # half surrogates


def _to_json_values(column: pa.Array) -> list[Any]:
    """Return values that JSON can hold. Scores are float32 and finite, so that most columns take the short way."""
    if pa.types.is_list(column.type):  # of labels, which are plain values
        return list(column.to_pylist())
    is_plain = pa.types.is_float32(column.type) and pc.all(pc.is_finite(column), skip_nulls=False, min_count=0).as_py()
    return column.to_pylist() if is_plain else list(plain_ids(column))


def _read_jsonl(path: Path, columns: list[str]) -> NDArray[np.float32]:
    with path.open("rb") as file:
        values = np.fromiter((row[name] for row in map(json.loads, file) for name in columns), dtype=np.float32)
    return values.reshape(-1, len(columns))


PREDICTION_FORMATS: Mapping[str, PredictionFormat] = {
    "csv": PredictionFormat(make_csv_writer(","), _csv_reader(",")),
    "tsv": PredictionFormat(make_csv_writer("\t"), _csv_reader("\t")),
    "parquet": PredictionFormat(_write_parquet, _read_parquet, keeps_dictionaries=True),
    "jsonl": PredictionFormat(_write_jsonl, _read_jsonl, has_types=False),
}
"""By name, one for each format that a channel can have."""
