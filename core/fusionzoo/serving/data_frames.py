"""pandas data frames as input and output of a predictor. pandas is imported only if the caller uses it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeGuard

import numpy as np
import pyarrow as pa

from fusionzoo.data.reading import blocks
from fusionzoo.data.reading.plain_values import array_from_values
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.data.reading.value_kinds import is_nested
from fusionzoo.serving.row_source import ModelColumns, Predictions, RowSource

if TYPE_CHECKING:
    import pandas as pd

SOURCE = "data frame"  # in messages, where files have their names


def is_data_frame(value: object) -> TypeGuard[pd.DataFrame]:
    """Return whether the value is a pandas DataFrame, without importing pandas."""
    frame_type = getattr(sys.modules.get("pandas"), "DataFrame", None)  # absent while another thread imports pandas
    return frame_type is not None and isinstance(value, frame_type)


class DataFrameRows(RowSource):
    """The rows of a data frame. None, NaN, NaT and pandas.NA are missing values."""

    def __init__(self, frame: pd.DataFrame) -> None:
        self._frame = frame

    def read(self, columns: ModelColumns, strict: bool) -> Iterator[Rows]:
        frame = self._frame
        names = [str(name) for name in frame.columns]
        if not names and not len(frame):  # an empty list of records as a data frame
            return
        columns.check(SOURCE, names, strict)
        series = {name: frame.iloc[:, names.index(name)] for name in columns.features}
        for start in range(0, max(len(frame), 1), blocks.BLOCK_ROWS):
            stop = min(start + blocks.BLOCK_ROWS, len(frame))
            is_all = stop - start == len(frame)
            parts = series if is_all else {name: values.iloc[start:stop] for name, values in series.items()}
            arrays = {name: _to_array(values) for name, values in parts.items()}
            yield Rows(arrays, SOURCE, start + 1, typed=True)

    def convert(self, predictions: Predictions) -> pd.DataFrame:
        """Return a data frame with the index of the rows."""
        import pandas as pd

        arrays = {i: _to_numpy(values) for i, values in enumerate(predictions.values)}
        frame = pd.DataFrame(arrays, index=self._frame.index)
        frame.columns = pd.Index(list(predictions.names))
        return frame


def _to_numpy(values: pa.Array) -> np.ndarray:
    if not is_nested(values.type):
        array: np.ndarray = values.to_numpy(zero_copy_only=False)
        return array
    lists = np.empty(len(values), object)
    lists[:] = values.to_pylist()
    return lists


def _to_array(series: pd.Series) -> pa.Array:
    if series.dtype == np.dtype(object):
        return array_from_values(series.tolist())
    try:
        values = pa.array(series, from_pandas=True)
    except (pa.ArrowException, OverflowError, UnicodeEncodeError):  # as in `array_from_values`, which stores text then
        return array_from_values(series.tolist())
    plain = to_plain_layout(values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values)
    if is_nested(plain.type) or isinstance(plain.type, pa.BaseExtensionType):
        return array_from_values(series.tolist())  # periods and intervals, as in records
    return plain
