"""The file formats of predictions: for each, how to write record batches and how to read the scores back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fusionzoo.artifacts.predictions import plain_ids

Writer = Callable[[BinaryIO, pa.Schema, Iterator[pa.RecordBatch]], None]
Reader = Callable[[Path, list[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class PredictionFormat:
    """One file format.

    Attributes:
        write: writes record batches of a schema to an open file.
        read_scores: returns the named columns of a file, float32 [rows, columns].
        keeps_dictionaries: whether the format stores dictionary-encoded columns.
    """

    write: Writer
    read_scores: Reader
    keeps_dictionaries: bool = False


def _csv_writer(delimiter: str) -> Writer:
    def write(file: BinaryIO, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        schema = pa.schema([pa.field(f.name, pa.string() if pa.types.is_float64(f.type) else f.type) for f in schema])
        with pacsv.CSVWriter(file, schema, write_options=pacsv.WriteOptions(delimiter=delimiter)) as writer:
            for batch in batches:
                columns = [_spell_floats(column) for column in batch.columns]
                writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    return write


def _spell_floats(values: pa.Array) -> pa.Array:
    """Return float64 ids and labels as Python and pandas write them: Arrow would write 1.0 as 1."""
    if not pa.types.is_float64(values.type):
        return values
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
        for batch in batches:
            writer.write_batch(batch)


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
        ids, *columns = batch.columns
        rows = zip(plain_ids(ids), *(column.to_pylist() for column in columns), strict=True)
        lines = [
            json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False, allow_nan=False) for row in rows
        ]
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))


def _read_jsonl(path: Path, columns: list[str]) -> NDArray[np.float32]:
    with path.open("rb") as file:
        values = np.fromiter((row[name] for row in map(json.loads, file) for name in columns), dtype=np.float32)
    return values.reshape(-1, len(columns))


PREDICTION_FORMATS: Mapping[str, PredictionFormat] = {
    "csv": PredictionFormat(_csv_writer(","), _csv_reader(",")),
    "tsv": PredictionFormat(_csv_writer("\t"), _csv_reader("\t")),
    "parquet": PredictionFormat(_write_parquet, _read_parquet, keeps_dictionaries=True),
    "jsonl": PredictionFormat(_write_jsonl, _read_jsonl),
}
"""By name, one for each format that a channel can have."""
