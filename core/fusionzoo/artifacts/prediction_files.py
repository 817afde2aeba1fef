"""Prediction files: one line per row, in the input's order and format, each read back before it counts as written."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.atomic_files import write_atomically
from fusionzoo.data.labels import Label, label_key

Format = Literal["csv", "tsv", "parquet", "jsonl"]
Id = int | float | bool | str | None
CELLS_PER_BLOCK = 2**21


def prediction_columns(id_name: str, label_name: str, classes: Sequence[Label]) -> list[str]:
    """The names of a prediction file's columns: id, label, `prob_<class>` for each class, `predicted_<label>`.

    Raises:
        errors.PredictionColumnsError: two of them are the same, or the classes are not of one type.
    """
    _labels(classes)
    columns = [id_name, label_name, *(f"prob_{label_key(label)}" for label in classes), f"predicted_{label_name}"]
    if len(set(columns)) < len(columns):
        raise errors.PredictionColumnsError.same_name(sorted({n for n in columns if columns.count(n) > 1}))
    return columns


def write_predictions(
    path: Path,
    format: Format,
    ids: pa.Array | pa.ChunkedArray,
    id_name: str,
    label_name: str,
    classes: Sequence[Label],
    y_true: NDArray[np.integer],
    probabilities: NDArray[np.float32],
) -> None:
    """Write a split's predictions, rows in the order given, and read them back.

    Ids and labels come out as they came in; in JSON Lines, which knows only text and numbers, a date or time is ISO
    8601 text, any other type its text, and NaN is null. Probabilities read back as float32 are the same float32.

    Args:
        path: the file; written whole or not at all.
        format: as the input's.
        ids: [rows], of any type that the format can hold.
        id_name: the id column's name.
        label_name: the label column's name.
        classes: the labels as they came, in the order of the indices.
        y_true: class indices [rows].
        probabilities: [rows, classes] float32.

    Raises:
        errors.PredictionColumnsError: see `prediction_columns`.
        errors.ScoresError: the arguments do not fit each other, or a probability is not finite.
        errors.OutputError: the file cannot be written, or does not read back as it was written.
    """
    columns = prediction_columns(id_name, label_name, classes)
    probabilities = _checked(ids, classes, y_true, probabilities)
    if pa.types.is_dictionary(ids.type) and format != "parquet":
        ids = ids.cast(ids.type.value_type)
    labels = _labels(classes)
    types = [ids.type, labels.type, *[pa.float32()] * len(classes), labels.type]
    schema = pa.schema(list(zip(columns, types, strict=True)))

    def blocks() -> Iterator[pa.RecordBatch]:
        size = max(256, CELLS_PER_BLOCK // len(columns))
        for start in range(0, len(y_true), size):
            part = probabilities[start : start + size]
            block_ids = ids.slice(start, size)
            if isinstance(block_ids, pa.ChunkedArray):
                block_ids = block_ids.combine_chunks()
            true = labels.take(pa.array(y_true[start : start + size].astype(np.int64)))
            predicted = labels.take(pa.array(part.argmax(axis=1)))
            scores = [pa.array(column) for column in np.ascontiguousarray(part.T)]
            yield pa.RecordBatch.from_arrays([block_ids, true, *scores, predicted], schema=schema)

    write, read = _FORMATS[format]

    def write_and_read(file: BinaryIO) -> None:
        write(file, schema, blocks())
        file.flush()
        _compare(path, probabilities, read(Path(file.name), columns[2:-1]))

    write_atomically(path, write_and_read)


def write_predict_results(
    path: Path,
    ids: pa.Array | pa.ChunkedArray,
    y_true: NDArray[np.integer],
    y_pred: NDArray[np.float32],
    classes: Sequence[Label],
    split: str,
) -> None:
    """Write predict_results.pth, which loads with `weights_only=True`, and read it back.

    It holds `ids` (list), `y_true` int64 tensor [rows], `y_pred` float32 tensor [rows, classes] of probabilities,
    `classes` (list) and `split`. Whole numbers, numbers, truth values and text are ids as they came; nothing else loads
    safely, so a date or time is ISO 8601 text and any other type its text.

    Raises:
        errors.ScoresError: the arguments do not fit each other, or a probability is not finite.
        errors.OutputError: the file cannot be written, or does not read back as it was written.
    """
    import torch

    y_pred = _checked(ids, classes, y_true, y_pred)
    content = {
        "ids": plain_ids(ids),
        "y_true": torch.tensor(y_true.astype(np.int64)),
        "y_pred": torch.tensor(y_pred),
        "classes": _labels(classes).to_pylist(),
        "split": split,
    }

    def write_and_read(file: BinaryIO) -> None:
        torch.save(content, file)
        file.flush()
        found = torch.load(file.name, weights_only=True, map_location="cpu")
        _compare(path, y_pred, found["y_pred"].numpy())

    write_atomically(path, write_and_read)


def plain_ids(ids: pa.Array | pa.ChunkedArray) -> list[Id]:
    """Ids as plain Python values, null and NaN None: dates and times as ISO 8601 text, other types as their text."""
    return [_plain(value) for value in ids.to_pylist()]


def _plain(value: Any) -> Id:
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)


def _labels(classes: Sequence[Label]) -> pa.Array:
    """The labels as an array of their own type: text, truth values, or numbers."""
    try:
        return pa.array(classes)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise errors.PredictionColumnsError.mixed_labels(classes) from error


def _checked(
    ids: pa.Array | pa.ChunkedArray,
    classes: Sequence[Label],
    y_true: NDArray[np.integer],
    probabilities: NDArray[np.floating],
) -> NDArray[np.float32]:
    if probabilities.shape != (len(ids), len(classes)) or y_true.shape != (len(ids),):
        raise errors.ScoresError.shapes(y_true.shape, probabilities.shape, (len(ids), len(classes)))
    nonfinite = np.flatnonzero(~np.isfinite(probabilities).all(axis=1))
    if len(nonfinite):
        raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
    return probabilities.astype(np.float32, copy=False)


def _compare(path: Path, written: NDArray[np.float32], read: NDArray[np.float32]) -> None:
    if written.shape != read.shape:
        raise errors.OutputError.other_shape(path, written.shape, read.shape)
    other = np.flatnonzero((written != read).any(axis=1))
    if len(other):
        raise errors.OutputError.other_content(path, int(other[0]), len(other))


def _write_csv(delimiter: str) -> Callable[[BinaryIO, pa.Schema, Iterator[pa.RecordBatch]], None]:
    def write(file: BinaryIO, schema: pa.Schema, blocks: Iterator[pa.RecordBatch]) -> None:
        with pacsv.CSVWriter(file, schema, write_options=pacsv.WriteOptions(delimiter=delimiter)) as writer:
            for block in blocks:
                writer.write_batch(block)

    return write


def _read_csv(delimiter: str) -> Callable[[Path, list[str]], NDArray[np.float32]]:
    def read(path: Path, columns: list[str]) -> NDArray[np.float32]:
        table = pacsv.read_csv(
            path,
            pacsv.ReadOptions(block_size=2**24 + 64 * len(columns)),
            pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            pacsv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(columns, pa.float32())),
        )
        return _matrix(table)

    return read


def _write_parquet(file: BinaryIO, schema: pa.Schema, blocks: Iterator[pa.RecordBatch]) -> None:
    with pq.ParquetWriter(file, schema) as writer:
        for block in blocks:
            writer.write_batch(block)


def _read_parquet(path: Path, columns: list[str]) -> NDArray[np.float32]:
    with pq.ParquetFile(path) as file:
        return _matrix(file.read(columns=columns))


def _matrix(table: pa.Table) -> NDArray[np.float32]:
    matrix = np.empty((table.num_rows, table.num_columns), dtype=np.float32)
    for k, column in enumerate(table.columns):
        matrix[:, k] = column.to_numpy()
    return matrix


def _write_jsonl(file: BinaryIO, schema: pa.Schema, blocks: Iterator[pa.RecordBatch]) -> None:
    for block in blocks:
        ids, *others = block.columns
        rows = zip(plain_ids(ids), *(column.to_pylist() for column in others), strict=True)
        lines = [
            json.dumps(dict(zip(schema.names, row, strict=True)), ensure_ascii=False, allow_nan=False) for row in rows
        ]
        file.write("".join(f"{line}\n" for line in lines).encode("utf-8"))


def _read_jsonl(path: Path, columns: list[str]) -> NDArray[np.float32]:
    with path.open("rb") as file:
        flat = np.fromiter((row[name] for row in map(json.loads, file) for name in columns), dtype=np.float32)
    return flat.reshape(-1, len(columns))


_FORMATS = {
    "csv": (_write_csv(","), _read_csv(",")),
    "tsv": (_write_csv("\t"), _read_csv("\t")),
    "parquet": (_write_parquet, _read_parquet),
    "jsonl": (_write_jsonl, _read_jsonl),
}
