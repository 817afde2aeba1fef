"""pandas data frames as input and output of a predictor. pandas is imported only if the caller uses it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.plain_values import array_from_values
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.data.reading.value_kinds import is_nested

if TYPE_CHECKING:
    import pandas as pd

    from fusionzoo.tasks.task import Task

SOURCE = "data frame"  # in messages, where files have their names


def is_data_frame(value: object) -> TypeGuard[pd.DataFrame]:
    """Return whether the value is a pandas DataFrame, without importing pandas."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def rows_from_data_frame(frame: pd.DataFrame, columns: Sequence[str]) -> Rows:
    """Convert the named columns of a data frame. None, NaN, NaT and pandas.NA are missing values.

    Raises:
        errors.DataError: a column is absent, or its name occurs twice.
    """
    names = [str(name) for name in frame.columns]
    problems = [errors.missing_column(SOURCE, column, names) for column in columns if column not in names]
    problems += [errors.duplicate_column(SOURCE, column) for column in columns if names.count(column) > 1]
    if problems:
        raise errors.DataError(problems)
    return Rows({column: _to_array(frame.iloc[:, names.index(column)]) for column in columns}, SOURCE, 1, typed=True)


def predictions_to_data_frame(scores: np.ndarray, task: Task, index: pd.Index) -> pd.DataFrame:
    """Return a data frame with a float32 column for each score, and the decisions, as in a prediction file.

    Args:
        scores: [rows, outputs] float32.
        task: the task of the model.
        index: the index of the result, [rows].
    """
    import pandas as pd

    frame = pd.DataFrame(scores, index=index, columns=task.score_columns)
    for name, decisions in zip(task.decision_columns, task.decide(scores), strict=True):
        frame[name] = decisions.to_pandas().to_numpy()
    return frame


def _to_array(series: pd.Series) -> pa.Array:
    from pandas.api.types import is_object_dtype

    if is_object_dtype(series.dtype):
        return array_from_values(series.tolist())
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # as in `array_from_values`, which stores text then
        return array_from_values(series.tolist())
    plain = to_plain_layout(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
    if is_nested(plain.type) or isinstance(plain.type, pa.BaseExtensionType):
        return array_from_values(series.tolist())  # periods and intervals, as in records
    return plain
