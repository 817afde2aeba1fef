"""Read a channel: every part file, only the needed columns, in blocks of rows that know where they came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from fusionzoo import errors

Format = Literal["csv", "tsv", "parquet", "jsonl"]
SUFFIXES: Mapping[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
}
BLOCK_ROWS = 16_384
BLOCK_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Rows:
    """A block of raw rows. `typed` is False where every value came as text (CSV, TSV)."""

    columns: Mapping[str, pa.Array]
    source: str
    first_row: int  # of this block in `source`, counted from 1 without the header
    typed: bool

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> str:
        """Where row `index` of this block stands, for messages."""
        return f"{self.source} row {self.first_row + index}"


@dataclass(frozen=True)
class PartFile:
    """One file of a channel; `name` is relative to the channels' folder, for messages."""

    path: Path
    name: str
    format: Format
    gzipped: bool

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The file's bytes, decompressed."""
        with gzip.open(self.path) if self.gzipped else self.path.open("rb") as stream:
            yield cast("BinaryIO", stream)


@dataclass(frozen=True)
class Channel:
    """A split's part files, in the order of their names. Iterating it reads them, as often as wanted."""

    name: str
    files: tuple[PartFile, ...]
    columns: tuple[str, ...]

    @property
    def format(self) -> Format:
        """The format of the first part file, in which predictions are written back."""
        return self.files[0].format

    def __iter__(self) -> Iterator[Rows]:
        """All rows.

        Raises:
            errors.DataError: a part file is truncated, is not what its name says, or is not UTF-8.
        """
        for file in self.files:
            yield from _READERS[file.format](file, self.columns)


def open_channel(name: str, folder: Path, columns: Sequence[str]) -> Channel:
    """The channel in `folder`, each part file opened and its columns checked; no row is read yet.

    Files and folders whose names begin with '.' or '_' (such as `_SUCCESS`) are not data.

    Raises:
        errors.DataError: the folder is missing, holds no data, or a part file lacks a column or cannot be read.
    """
    files = _part_files(name, folder)
    faults = [fault for file in files for fault in _column_faults(file, columns)]
    if faults:
        raise errors.DataError(faults)
    return Channel(name, files, tuple(columns))


def from_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], source: str = "records") -> Rows:
    """Rows from mappings of plain Python values, as JSON gives them; an absent key is a missing value."""
    return Rows({c: _array([r.get(c) for r in records]) for c in columns}, source, 1, typed=True)


def _part_files(name: str, folder: Path) -> tuple[PartFile, ...]:
    if not folder.is_dir():
        raise errors.DataError([errors.channel_missing(name, folder)])
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise errors.DataError([errors.channel_empty(name, folder)])
    files, faults = [], []
    for path in paths:
        suffixes = [suffix.lower() for suffix in path.suffixes]
        gzipped = bool(suffixes) and suffixes[-1] == ".gz"
        kind = SUFFIXES.get(suffixes[-2] if gzipped and len(suffixes) > 1 else suffixes[-1] if suffixes else "")
        shown = f"{name}/{path.relative_to(folder)}"
        if kind is None:
            faults.append(errors.part_of_unknown_type(shown, sorted(SUFFIXES)))
        else:
            files.append(PartFile(path, shown, kind, gzipped))
    if faults:
        raise errors.DataError(faults)
    return tuple(files)


def _column_faults(file: PartFile, columns: Sequence[str]) -> list[errors.Fault]:
    try:
        found = _COLUMNS[file.format](file)
    except _UNREADABLE as cause:
        return [errors.part_unreadable(file.name, file.format, cause)]
    if found is None:
        return []
    return [errors.column_missing(file.name, column, found) for column in columns if column not in found] + [
        errors.column_twice(file.name, column) for column in columns if found.count(column) > 1
    ]


_UNREADABLE = (pa.ArrowException, OSError, EOFError, gzip.zlib.error, UnicodeDecodeError, csv.Error)  # type: ignore[attr-defined]


@contextmanager
def _readable(file: PartFile) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as cause:
        raise errors.DataError([errors.part_unreadable(file.name, file.format, cause)]) from cause


# --- CSV and TSV: every value is text, so that "007" stays "007" and all part files agree


def _delimiter(file: PartFile) -> str:
    return "\t" if file.format == "tsv" else ","


def _delimited_columns(file: PartFile) -> list[str] | None:
    with file.open() as stream:
        text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
        return next(csv.reader(text, delimiter=_delimiter(file)), None)


def _read_delimited(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    if _delimited_columns(file) is None:
        return  # zero bytes: a writer that had no rows
    faults: list[errors.Fault] = []

    def note(row: Any) -> str:
        faults.append(errors.row_of_other_width(file.name, row.number, row.expected_columns, row.actual_columns))
        return "skip"

    with _readable(file), file.open() as stream:
        reader = pa_csv.open_csv(
            pa.PythonFile(stream, mode="r"),
            read_options=pa_csv.ReadOptions(block_size=BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(
                delimiter=_delimiter(file), newlines_in_values=True, invalid_row_handler=note
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()),
                include_columns=list(columns),
                strings_can_be_null=False,
                null_values=[],
            ),
        )
        first = 1
        for batch in reader:
            yield Rows(_columns_of(batch), file.name, first, typed=False)
            first += batch.num_rows
    if faults:
        raise errors.DataError(faults)


# --- Parquet


@contextmanager
def _parquet(file: PartFile) -> Iterator[pq.ParquetFile]:
    with file.open() as stream:
        source = pa.BufferReader(stream.read()) if file.gzipped else pa.PythonFile(stream, mode="r")
        with pq.ParquetFile(source) as parquet:
            yield parquet


def _parquet_columns(file: PartFile) -> list[str]:
    with _parquet(file) as parquet:
        return list(parquet.schema_arrow.names)


def _read_parquet(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    with _readable(file), _parquet(file) as parquet:
        first = 1
        for batch in parquet.iter_batches(BLOCK_ROWS, columns=list(columns)):
            yield Rows(_columns_of(batch), file.name, first, typed=True)
            first += batch.num_rows


def _columns_of(batch: pa.RecordBatch) -> dict[str, pa.Array]:
    return {name: batch.column(name) for name in batch.schema.names}


# --- JSON Lines: an absent key is a missing value, but a column that no line has is a fault


def _json_columns(file: PartFile) -> list[str] | None:
    names: dict[str, None] = {}
    any_row = False
    for _, record in _json_records(file):
        any_row = True
        names.update(dict.fromkeys(record))
    return list(names) if any_row else None


def _json_records(file: PartFile) -> Iterator[tuple[int, dict[str, Any]]]:
    with _readable(file), file.open() as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (json.JSONDecodeError, RecursionError) as cause:
                raise errors.DataError([errors.line_not_json(file.name, number, cause)]) from cause
            if not isinstance(record, dict):
                raise errors.DataError([errors.line_not_object(file.name, number)])
            yield number, record


def _read_json(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    block: list[dict[str, Any]] = []
    first = 1
    for _, record in _json_records(file):
        block.append(record)
        if len(block) == BLOCK_ROWS:
            yield Rows({c: _array([r.get(c) for r in block]) for c in columns}, file.name, first, typed=True)
            first, block = first + len(block), []
    if block:
        yield Rows({c: _array([r.get(c) for r in block]) for c in columns}, file.name, first, typed=True)


def _array(values: list[Any]) -> pa.Array:
    """Arrow's own type where the values share one; otherwise each value's text (nested values as JSON)."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass  # integers beyond 64 bits, or lists of mixed things: kept as text below
    return pa.array([None if v is None else json.dumps(v) if isinstance(v, list | dict) else str(v) for v in values])


_COLUMNS: Mapping[Format, Callable[[PartFile], list[str] | None]] = {
    "csv": _delimited_columns,
    "tsv": _delimited_columns,
    "parquet": _parquet_columns,
    "jsonl": _json_columns,
}
_READERS: Mapping[Format, Callable[[PartFile, Sequence[str]], Iterator[Rows]]] = {
    "csv": _read_delimited,
    "tsv": _read_delimited,
    "parquet": _read_parquet,
    "jsonl": _read_json,
}


def as_text(rows: Rows, column: str) -> pa.Array:
    """A column's values as strings, null where null, NaN or empty.

    Raises:
        errors.DataError: the values are bytes, lists or other nested values.
    """
    values = rows.columns[column]
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise errors.DataError([errors.column_of_wrong_type(rows.source, column, str(kind), "text or plain values")])
    if pa.types.is_boolean(kind):
        text = pc.if_else(values, "True", "False")
    elif pa.types.is_floating(kind):
        text = pc.if_else(pc.is_nan(values), None, values).cast(pa.string())
    else:
        text = values.cast(pa.string())
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
