"""The predictions of one split: ids, labels and probabilities, in the order of the split's rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.labels import NO_LABEL, Label

PlainId = int | float | bool | str | None
CELLS_PER_BLOCK = 2**21
MIN_ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class Predictions:
    """The predictions of one split. Construction checks that the fields fit each other.

    Args:
        id_name: the name of the id column.
        label_name: the name of the label column.
        classes: the original labels, in the order of the class indices.
        ids: [rows], of any type that the file format can hold.
        y_true: class indices [rows]; `NO_LABEL` for a row without a label.
        probabilities: [rows, classes]; stored as float32.

    Raises:
        errors.ScoresError: the shapes do not agree, or a probability is not finite.
    """

    id_name: str
    label_name: str
    classes: Sequence[Label]
    ids: pa.Array | pa.ChunkedArray
    y_true: NDArray[np.integer]
    probabilities: NDArray[np.float32]

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.classes))
        if self.probabilities.shape != shape or self.y_true.shape != shape[:1]:
            raise errors.ScoresError.shapes(self.y_true.shape, self.probabilities.shape, shape)
        nonfinite = np.flatnonzero(~np.isfinite(self.probabilities).all(axis=1))
        if len(nonfinite):
            raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
        object.__setattr__(self, "probabilities", self.probabilities.astype(np.float32, copy=False))

    def __len__(self) -> int:
        return len(self.y_true)

    @property
    def columns(self) -> list[str]:
        """The column names of a prediction file, see `prediction_columns`."""
        return prediction_columns(self.id_name, self.label_name, self.classes)

    @property
    def probability_columns(self) -> list[str]:
        """The names of the probability columns, in the order of the classes."""
        return self.columns[2:-1]

    def schema(self, *, keep_dictionary_ids: bool = True) -> pa.Schema:
        """Return the Arrow schema of a prediction file.

        Args:
            keep_dictionary_ids: whether dictionary-encoded ids stay encoded; otherwise the schema has their value type.
        """
        label_type, id_type = label_array(self.classes).type, self.ids.type
        if pa.types.is_dictionary(id_type) and not keep_dictionary_ids:
            id_type = id_type.value_type
        types = [id_type, label_type, *[pa.float32()] * len(self.classes), label_type]
        return pa.schema(list(zip(self.columns, types, strict=True)))

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, in record batches of bounded size."""
        labels, ids = label_array(self.classes), self.ids.cast(schema.field(0).type)
        size = max(MIN_ROWS_PER_BLOCK, CELLS_PER_BLOCK // len(schema))
        for start in range(0, len(self), size):
            block_ids = ids.slice(start, size)
            if isinstance(block_ids, pa.ChunkedArray):
                block_ids = block_ids.combine_chunks()
            probabilities = self.probabilities[start : start + size]
            y_true = self.y_true[start : start + size].astype(np.int64)
            true_labels = labels.take(pa.array(y_true, mask=y_true == NO_LABEL))
            predicted_labels = labels.take(pa.array(probabilities.argmax(axis=1)))
            columns = [pa.array(column) for column in np.ascontiguousarray(probabilities.T)]
            yield pa.RecordBatch.from_arrays([block_ids, true_labels, *columns, predicted_labels], schema=schema)


def prediction_columns(id_name: str, label_name: str, classes: Sequence[Label]) -> list[str]:
    """Return the column names of a prediction file: id, label, `prob_<class>` for each class, `predicted_<label>`.

    Raises:
        errors.PredictionColumnsError: two columns have the same name, or the classes are not of one type.
    """
    label_array(classes)
    columns = [id_name, label_name, *probability_column_names(classes), f"predicted_{label_name}"]
    if len(set(columns)) < len(columns):
        raise errors.PredictionColumnsError.same_name(sorted({n for n in columns if columns.count(n) > 1}))
    return columns


def probability_column_names(classes: Sequence[Label]) -> list[str]:
    """Return `prob_<class>` for each class, in their order and as the labels are spelled."""
    return [f"prob_{label}" for label in classes]


def label_array(classes: Sequence[Label]) -> pa.Array:
    """Return the labels as an array of their own type: text, booleans, or numbers.

    Raises:
        errors.PredictionColumnsError: the labels are not of one type.
    """
    try:
        return pa.array(classes)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise errors.PredictionColumnsError.mixed_labels(classes) from error


def plain_ids(ids: pa.Array | pa.ChunkedArray) -> list[PlainId]:
    """Return ids as plain Python values: null and NaN as None, dates and times as ISO 8601, other types as text."""
    return [_plain_id(value) for value in ids.to_pylist()]


def _plain_id(value: Any) -> PlainId:
    if isinstance(value, float) and math.isnan(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value.isoformat()) if hasattr(value, "isoformat") else str(value)
