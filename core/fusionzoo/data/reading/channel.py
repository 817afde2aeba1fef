"""Read a channel: every part file, only the needed columns, in blocks of rows that know where they came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fusionzoo import errors

T = TypeVar("T")
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
BLOCK_LENGTH = 16 * 2**20  # characters or bytes: a block ends with the row that passes it
PIECE_ROWS, PIECE_LENGTH = 256, 2 * 2**20  # the same for what is decoded from Parquet at once
LONGEST_FIELD = 2**28  # characters of a CSV value; longer is a quote that never ends
PARQUET_BUFFER = 2**20  # bytes read at once


@dataclass(frozen=True)
class Rows:
    """A block of raw rows. `typed` is False where every value came as text (CSV, TSV).

    `places` says, where rows were left out, which ones of the rows from `first_row` on stayed: [rows] int64, from 0.
    """

    columns: Mapping[str, pa.Array]
    source: str
    first_row: int  # of this block in `source`, counted from 1 without the header
    typed: bool
    places: np.ndarray | None = field(default=None, compare=False)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def row(self, index: int) -> str:
        """Where row `index` of this block stands, for messages."""
        return f"{self.source} row {self.first_row + (index if self.places is None else self.places[index])}"

    def where(self, wanted: np.ndarray) -> Rows:
        """The rows for which `wanted`, [rows] bool, is true, in their order."""
        kept = pa.array(wanted)
        places = np.flatnonzero(wanted) if self.places is None else self.places[wanted]
        return replace(self, columns={name: c.filter(kept) for name, c in self.columns.items()}, places=places)


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
    """A split's part files, ordered by name, part-2 before part-10. Iterating it reads them, as often as wanted."""

    name: str
    files: tuple[PartFile, ...]
    columns: tuple[str, ...]

    @property
    def format(self) -> Format:
        """The format of the first part file, in which predictions are written back."""
        return self.files[0].format

    def with_columns(self, columns: Sequence[str]) -> Channel:
        """The same part files read for these columns, which are looked for in each; no row is read yet.

        Raises:
            errors.DataError: a part file lacks a column or cannot be read.
        """
        problems = [fault for file in self.files for fault in _column_faults(file, columns)]
        if problems:
            raise errors.DataError(problems)
        return replace(self, columns=tuple(columns))

    def __iter__(self) -> Iterator[Rows]:
        """All rows.

        Raises:
            errors.DataError: part files are truncated, not what their names say, or not UTF-8; raised after the rows
                of the others, all faults together.
        """
        problems = errors.ProblemLog()
        for file in self.files:
            with problems.kept(), _readable(file):
                yield from _READERS[file.format](file, self.columns)
        problems.raise_if_any()


def open_channel(name: str, folder: Path, columns: Sequence[str]) -> Channel:
    """The channel in `folder`, each part file opened and its columns checked; no row is read yet.

    Files and folders whose names begin with '.' or '_' (such as `_SUCCESS`) are not data.

    Raises:
        errors.DataError: the folder is missing, holds no data, or a part file lacks a column or cannot be read.
    """
    return Channel(name, _part_files(name, folder), ()).with_columns(columns)


def from_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], source: str = "records") -> Rows:
    """Rows from mappings of plain Python values, as JSON gives them; an absent key is a missing value."""
    return Rows({c: _array([r.get(c) for r in records]) for c in columns}, source, 1, typed=True)


def _part_files(name: str, folder: Path) -> tuple[PartFile, ...]:
    if not folder.is_dir():
        raise errors.DataError([errors.channel_missing(name, folder)])
    found = [
        path
        for path in folder.rglob("*")
        if path.is_file() and not any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
    ]
    paths = sorted(found, key=lambda path: _natural(path.relative_to(folder).as_posix()))
    if not paths:
        raise errors.DataError([errors.channel_empty(name, folder)])
    files, problems = [], []
    for path in paths:
        suffixes = [suffix.lower() for suffix in path.suffixes]
        gzipped = bool(suffixes) and suffixes[-1] == ".gz"
        kind = SUFFIXES.get(suffixes[-2] if gzipped and len(suffixes) > 1 else suffixes[-1] if suffixes else "")
        shown = f"{name}/{path.relative_to(folder)}"
        if kind is None:
            problems.append(errors.part_of_unknown_type(shown, sorted(SUFFIXES)))
        else:
            files.append(PartFile(path, shown, kind, gzipped))
    if problems:
        raise errors.DataError(problems)
    return tuple(files)


def _natural(name: str) -> tuple[list[int | str], str]:
    """A key that sorts numbers in names by their value."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))], name


def _column_faults(file: PartFile, columns: Sequence[str]) -> list[errors.Problem]:
    problems = errors.ProblemLog()
    with problems.kept(), _readable(file):
        found = _COLUMNS[file.format](file, columns)
        if found is not None:
            missing = [errors.column_missing(file.name, column, found) for column in columns if column not in found]
            twice = [errors.column_twice(file.name, column) for column in columns if found.count(column) > 1]
            return missing + twice
    return problems.problems


@contextmanager
def _readable(file: PartFile) -> Iterator[None]:
    """Raises errors.DataError where the block cannot read the file."""
    try:
        yield
    except UnicodeDecodeError as cause:
        raise errors.DataError([errors.part_not_utf8(file.name, cause)]) from cause
    except (pa.ArrowException, OSError, EOFError, zlib.error) as cause:
        raise errors.DataError([errors.part_unreadable(file.name, file.format, cause)]) from cause


def _blocks(sized: Iterable[tuple[int, T]]) -> Iterator[list[T]]:
    """Rows, each given with its length, in blocks of at most `BLOCK_ROWS`, and fewer where rows are long."""
    block: list[T] = []
    length = 0
    for size, row in sized:
        block.append(row)
        length += size
        if len(block) == BLOCK_ROWS or length >= BLOCK_LENGTH:
            yield block
            block, length = [], 0
    if block:
        yield block


# --- CSV and TSV: every value is text, so that "007" stays "007" and all part files agree. Python's own reader, since
# Arrow's takes no row longer than its block, and keeps silent about a quoted text that never ends.


def _delimited_rows(file: PartFile) -> Iterator[tuple[int, list[str]]]:
    """Each row, the header first, with the line where it begins; blank lines are no rows."""
    csv.field_size_limit(LONGEST_FIELD)  # for the whole process; csv's own limit is 131,072 characters
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter="\t" if file.format == "tsv" else ",", strict=True)
        line = 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as cause:
            raise errors.DataError([errors.line_not_delimited(file.name, line, cause)]) from cause


def _delimited_columns(file: PartFile, _: Sequence[str]) -> list[str] | None:
    for _line, header in _delimited_rows(file):
        return header
    return None  # zero bytes: a writer that had no rows


def _read_delimited(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    rows = _delimited_rows(file)
    _line, header = next(rows, (1, list(columns)))
    wrong, examples = 0, list[tuple[int, int]]()

    def right() -> Iterator[tuple[int, list[str]]]:
        nonlocal wrong
        for line, row in rows:
            if len(row) != len(header):
                wrong += 1
                if wrong <= errors.MAX_LISTED_PROBLEMS:
                    examples.append((line, len(row)))
            elif not wrong:
                yield sum(map(len, row)) + 8 * len(row), row

    first, places = 1, {column: header.index(column) for column in columns}
    for block in _blocks(right()):
        arrays = {column: pa.array([row[i] for row in block], pa.string()) for column, i in places.items()}
        yield Rows(arrays, file.name, first, typed=False)
        first += len(block)
    if wrong:
        raise errors.DataError([errors.rows_of_other_width(file.name, len(header), wrong, examples)])


# --- Parquet: decoded in small pieces, which are put together to blocks, since neither the number of rows nor the size
# in the file says how long texts are: one that occurs in many rows is stored once.


@contextmanager
def _parquet(file: PartFile) -> Iterator[pq.ParquetFile]:
    # Without a buffer, or with reading ahead, Arrow would hold a whole row group of each column.
    with (
        file.open() as stream,
        _seekable(file, stream) as source,
        pq.ParquetFile(pa.PythonFile(source, mode="r"), buffer_size=PARQUET_BUFFER, pre_buffer=False) as parquet,
    ):
        yield parquet


@contextmanager
def _seekable(file: PartFile, stream: BinaryIO) -> Iterator[BinaryIO]:
    """The stream itself, or its bytes in a file that has no name: going back in a gzip file begins it anew."""
    if not file.gzipped:
        yield stream
        return
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(stream, copy)
        yield cast("BinaryIO", copy)


def _parquet_columns(file: PartFile, _: Sequence[str]) -> list[str]:
    with _parquet(file) as parquet:
        return list(parquet.schema_arrow.names)


def _read_parquet(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    with _parquet(file) as parquet:
        first = 1
        for block in _joined(_pieces(parquet, columns)):
            arrays = {c: pa.concat_arrays([piece.column(i) for piece in block]) for i, c in enumerate(columns)}
            _refuse_broken_text(file, arrays)
            yield Rows(arrays, file.name, first, typed=True)
            first += sum(map(len, block))


def _refuse_broken_text(file: PartFile, columns: Mapping[str, pa.Array]) -> None:
    """Raises errors.DataError where text is not UTF-8, which Parquet's writers need not look at."""
    problems = []
    for name, values in columns.items():
        try:
            values.validate(full=pa.types.is_string(values.type) or pa.types.is_large_string(values.type))
        except pa.ArrowInvalid as cause:
            problems.append(errors.column_not_utf8(file.name, name, cause))
    if problems:
        raise errors.DataError(problems)


def _pieces(parquet: pq.ParquetFile, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """All rows in order, few at a time."""
    for group in range(parquet.num_row_groups):
        rows = _rows_per_piece(parquet.metadata.row_group(group), columns)
        for batch in parquet.iter_batches(rows, row_groups=[group], columns=list(columns)):
            piece = pa.RecordBatch.from_arrays([_decoded(batch.column(c)) for c in columns], list(columns))
            step = max(1, len(piece) * PIECE_LENGTH // max(1, piece.nbytes))
            yield from (piece.slice(start, step) for start in range(0, len(piece), step))


def _rows_per_piece(group: pq.RowGroupMetaData, columns: Sequence[str]) -> int:
    chunks = (group.column(i) for i in range(group.num_columns))
    needed = (chunk for chunk in chunks if any(f"{chunk.path_in_schema}.".startswith(f"{c}.") for c in columns))
    stored: int = sum(chunk.total_uncompressed_size for chunk in needed)
    return max(1, min(PIECE_ROWS, BLOCK_ROWS, int(group.num_rows) * PIECE_LENGTH // max(1, stored)))


def _joined(pieces: Iterable[pa.RecordBatch]) -> Iterator[list[pa.RecordBatch]]:
    """Pieces together in blocks of at most `BLOCK_ROWS` rows; the piece that passes `BLOCK_LENGTH` ends its block."""
    block: list[pa.RecordBatch] = []
    rows = length = 0
    for piece in pieces:
        if block and (rows + len(piece) > BLOCK_ROWS or length >= BLOCK_LENGTH):
            yield block
            block, rows, length = [], 0, 0
        block.append(piece)
        rows += len(piece)
        length += piece.nbytes
    if block:
        yield block


def _decoded(values: pa.Array) -> pa.Array:
    """The values in the plain layout of their type: dictionaries and string views are only ways to store text."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    return values.cast(pa.string()) if str(values.type) == "string_view" else values


# --- JSON Lines: an absent key is a missing value, but a column that no line has is a fault


def _json_columns(file: PartFile, columns: Sequence[str]) -> list[str] | None:
    names: dict[str, None] = {}
    any_row = False
    for _, record in _json_records(file):
        any_row = True
        names.update(dict.fromkeys(record))
        if all(column in names for column in columns):
            break
    return list(names) if any_row else None


def _json_records(file: PartFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's object, with the line's length."""
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as cause:
                raise errors.DataError([errors.line_not_json(file.name, number, cause)]) from cause
            if not isinstance(record, dict):
                raise errors.DataError([errors.line_not_object(file.name, number)])
            yield len(line), record


def _read_json(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    first = 1
    for block in _blocks(_json_records(file)):
        yield Rows({c: _array([r.get(c) for r in block]) for c in columns}, file.name, first, typed=True)
        first += len(block)


def _array(values: list[Any]) -> pa.Array:
    """Arrow's own type where the values share one; otherwise each value's text.

    One nested value makes the whole column nested, so that it is refused wherever it stands.
    """
    kinds = {type(value) for value in values if value is not None}
    if kinds & {list, dict}:
        return pa.array([[json.dumps(value)] for value in values])
    if kinds <= {int, float} or len(kinds) == 1:
        try:
            return pa.array(values, from_pandas=True)
        except (pa.ArrowException, OverflowError, UnicodeEncodeError):
            pass  # integers beyond 64 bits, or half of a surrogate pair: kept as text below
    texts = [number_text(value) if isinstance(value, float) else value for value in values]
    return pa.array([t if t is None else str(t).encode("utf-8", "replace").decode() for t in texts], pa.string())


def number_text(number: float) -> str | None:
    """A float as every format writes it: a whole number without its point, None for NaN.

    From 1e16 on Python, and with it pandas, writes an exponent.
    """
    if number != number:  # NaN is the one value that is not equal to itself
        return None
    return str(int(number) if number.is_integer() and abs(number) < 1e16 else number)


_COLUMNS: Mapping[Format, Callable[[PartFile, Sequence[str]], list[str] | None]] = {
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
        errors.DataError: the values are bytes, durations, lists or other nested values.
    """
    values = rows.columns[column]
    try:
        text = plain_text(values)
    except pa.ArrowException as cause:
        wrong = errors.column_of_wrong_type(rows.source, column, str(values.type), "text or plain values")
        raise errors.DataError([wrong]) from cause
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def plain_text(values: pa.Array) -> pa.Array:
    """Values as strings, the same as Python writes them; a whole number is written as one, whatever its type.

    Raises:
        pa.ArrowException: the values are bytes, durations, lists or other nested values.
    """
    kind = values.type
    if pa.types.is_boolean(kind):
        return pc.if_else(values, "True", "False")
    if pa.types.is_floating(kind):
        return pa.array([number_text(number) for number in values.to_numpy(zero_copy_only=False)], pa.string())
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        return _time_text(values)
    if isinstance(kind, pa.BaseExtensionType):  # a UUID is bytes
        return plain_text(values.storage)
    if str(kind).startswith(_WITHOUT_TEXT):
        raise pa.ArrowTypeError(f"{kind} is not text")
    return values.cast(pa.string())


def _time_text(values: pa.Array) -> pa.Array:
    """Times as Python writes them, the same whatever their unit; a fraction has 6 digits, or 9 where it needs them."""
    kind = values.type
    if kind.unit == "ms":
        values = values.cast(pa.time64("us") if pa.types.is_time(kind) else pa.timestamp("us", kind.tz))
    text = values.cast(pa.string())
    for pattern, instead in _TIMES:
        text = pc.replace_substring_regex(text, pattern, instead)
    return text


_TIMES = (
    (r"\.(?:0{6}|0{9})(Z|[+-][0-9]{4}|)$", r"\1"),
    (r"(\.[0-9]{6})000(Z|[+-][0-9]{4}|)$", r"\1\2"),
    (r"(:[0-9]{2}[.0-9]*)Z$", r"\1+00:00"),
    (r"(:[0-9]{2}[.0-9]*[+-][0-9]{2})([0-9]{2})$", r"\1:\2"),
)
_WITHOUT_TEXT = ("binary", "large_binary", "fixed_size_binary", "duration")  # types by name: views came with Arrow 16
