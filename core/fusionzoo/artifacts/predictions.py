"""The predictions of a split or of a block of rows: ids, labels and scores, in the order of the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.reading.column_text import values_as_text
from fusionzoo.data.reading.extension_types import is_uuid
from fusionzoo.data.reading.plain_values import json_value_type, json_values
from fusionzoo.tasks.task import Task, column_names

PlainId = int | float | bool | str | None
CELLS_PER_BLOCK = 2**21
MIN_ROWS_PER_BLOCK = 256


@dataclass(frozen=True)
class Predictions:
    """The predictions of a split or block. Construction checks that the fields fit each other.

    Args:
        id_name: the name of the id column.
        task: the task, with its fitted target.
        ids: [rows], of any type that the file format can hold.
        labels: encoded labels [rows] or [rows, ...]; missing ones for a row without a label. None: no label columns.
        scores: [rows, outputs]; stored as float32.
        carried: further columns of the input by name, each [rows]; they follow the columns of `prediction_columns`.

    Raises:
        errors.ScoresError: the shapes do not agree, or a score is not finite.
    """

    id_name: str
    task: Task
    ids: pa.Array | pa.ChunkedArray
    labels: np.ndarray | None
    scores: NDArray[np.float32]
    carried: Mapping[str, pa.Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.ids), self.task.target.num_outputs)
        labels_shape = shape[:1] if self.labels is None else self.labels.shape
        if self.scores.shape != shape or labels_shape[:1] != shape[:1]:
            raise errors.ScoresError.shapes(labels_shape, self.scores.shape, shape)
        nonfinite = np.flatnonzero(~np.isfinite(self.scores).all(axis=1))
        if len(nonfinite):
            raise errors.ScoresError.not_finite(int(nonfinite[0]), len(nonfinite))
        object.__setattr__(self, "scores", self.scores.astype(np.float32, copy=False))

    def __len__(self) -> int:
        return len(self.scores)

    def schema(self, *, keep_dictionary_ids: bool = True) -> pa.Schema:
        """Return the Arrow schema of a prediction file, with the columns of `prediction_columns` and `carried`.

        Args:
            keep_dictionary_ids: whether dictionary-encoded ids stay encoded; otherwise the schema has their value type.
        """
        task, id_type = self.task, self.ids.type
        if pa.types.is_dictionary(id_type) and not keep_dictionary_ids:
            id_type = id_type.value_type
        names = prediction_columns(self.id_name, task, list(self.carried), has_labels=self.labels is not None)
        types = [
            *(id_type, *([] if self.labels is None else [task.label_type] * len(task.label_columns))),
            *[pa.float32()] * len(task.score_columns),
            *[task.label_type] * len(task.decision_columns),
            *(values.type for values in self.carried.values()),
        ]
        return pa.schema(list(zip(names, types, strict=True)))

    def batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        """Yield all rows in order, in record batches of bounded size."""
        ids = self.ids.cast(schema.field(0).type)
        size = max(MIN_ROWS_PER_BLOCK, CELLS_PER_BLOCK // len(schema))
        for start in range(0, len(self), size):
            block_ids = ids.slice(start, size)
            if isinstance(block_ids, pa.ChunkedArray):
                block_ids = block_ids.combine_chunks()
            scores = self.scores[start : start + size]
            labels = [] if self.labels is None else self.task.decode_labels(self.labels[start : start + size])
            columns = [pa.array(column) for column in np.ascontiguousarray(scores.T)]
            carried = [values.slice(start, size) for values in self.carried.values()]
            arrays = [block_ids, *labels, *columns, *self.task.decide(scores), *carried]
            yield pa.RecordBatch.from_arrays(arrays, schema=schema)


def prediction_columns(id_name: str, task: Task, carried: Sequence[str] = (), *, has_labels: bool = True) -> list[str]:
    """Return the columns of a prediction file; of a classification: id, label, `prob_<class>`, `predicted_<label>`.

    Args:
        id_name: the name of the id column.
        task: the task, with its fitted target.
        carried: further columns of the input, which follow.
        has_labels: whether there are columns with the labels.

    Raises:
        errors.PredictionColumnsError: two columns have the same name, or the labels are not of one type.
    """
    _ = task.label_type
    columns = [*column_names(task, id_name, has_labels=has_labels), *carried]
    if len(set(columns)) < len(columns):
        raise errors.PredictionColumnsError.same_name(sorted({n for n in columns if columns.count(n) > 1}))
    return columns


def plain_ids(ids: pa.Array | pa.ChunkedArray) -> list[PlainId]:
    """Return values as JSON can hold them: null and NaN as None, values of other types as text."""
    if isinstance(ids, pa.ChunkedArray):
        return [value for chunk in ids.chunks for value in plain_ids(chunk)]
    if pa.types.is_dictionary(ids.type):
        ids = ids.dictionary_decode()
    if ids.type == json_value_type():
        return [_plain_id(value) for value in json_values(ids)]
    return [_plain_id(value) for value in (values_as_text(ids) if needs_text(ids.type) else ids).to_pylist()]


def needs_text(id_type: pa.DataType) -> bool:
    """Return whether a format without types stores the text of an id, which is the same in all of these formats.

    JSON has the values of `json_value_type` themselves.
    """
    is_time: bool = pa.types.is_timestamp(id_type) or pa.types.is_date(id_type) or pa.types.is_time(id_type)
    return is_time or is_uuid(id_type) or id_type == json_value_type()


def _plain_id(value: Any) -> PlainId:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
