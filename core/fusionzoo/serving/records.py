"""Records, which are mappings of plain values, as input and output of a predictor."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeGuard

from fusionzoo import errors
from fusionzoo.data.reading import blocks
from fusionzoo.data.reading.rows import Rows, rows_from_records
from fusionzoo.errors.value_problems import RECORDS, name_record
from fusionzoo.errors.wording import keep_letters
from fusionzoo.serving.row_source import ModelColumns, Predictions, RowSource

if TYPE_CHECKING:
    import pandas as pd


class RecordRows(RowSource):
    """The rows of a list, or of another iterable, of mappings from columns to values."""

    def __init__(self, records: object) -> None:
        if isinstance(records, Mapping) or (is_series(records) and not any(map(_is_record, records))):
            raise errors.PredictorInputError.single_record()
        if isinstance(records, bytes | bytearray | Rows) or not isinstance(records, Iterable):
            raise errors.PredictorInputError.not_records(records)
        self._records: list[Any] = list(records)

    def read(self, columns: ModelColumns, strict: bool) -> Iterator[Rows]:
        records = self._records
        self._check_keys(columns, strict)
        for start in range(0, len(records), blocks.BLOCK_ROWS):
            part = records[start : start + blocks.BLOCK_ROWS] if len(records) > blocks.BLOCK_ROWS else records
            yield replace(rows_from_records(part, columns.features), first_row=start + 1)

    def convert(self, predictions: Predictions) -> list[dict[Any, Any]]:
        """Return a list of dictionaries with plain values."""
        names = list(predictions.names)
        rows = zip(*(values.to_pylist() for values in predictions.values), strict=True)
        return [dict(zip(names, row, strict=True)) for row in rows]

    def _check_keys(self, columns: ModelColumns, strict: bool) -> None:
        """Raise an error for records without a column, keys that are nearly a column, and absent columns.

        A key that some records lack is a missing value. A column that no record has is absent.
        """
        features = columns.features
        wanted = frozenset(features)
        absent_in_all = set(wanted)
        unknown: dict[str, int] = {}  # keys, and the first record that has each
        for index, record in enumerate(self._records):
            if not _is_record(record):
                raise errors.PredictorInputError.not_a_record(index, record)
            keys = record.keys()
            if absent := wanted.difference(keys):
                _check_similar_keys(index, [str(key) for key in keys if key not in wanted], absent, columns)
            absent_in_all &= absent
            if strict or absent_in_all:
                for key in keys:
                    unknown.setdefault(str(key), index)
        if self._records and absent_in_all:
            names = [column for column in features if column in absent_in_all]
            raise errors.DataError([columns.describe_absent(RECORDS, name, list(unknown)) for name in names])
        if strict:
            first = min((index for key, index in unknown.items() if key not in columns.known), default=0)
            columns.refuse_unknown(name_record(first), list(unknown))


def _check_similar_keys(index: int, keys: Sequence[str], absent: frozenset[str], columns: ModelColumns) -> None:
    """Raise an error if one of `keys`, which are no features, is nearly an absent one, or if all are absent."""
    features = columns.features
    by_letters = {letters: column for column in features if column in absent and (letters := keep_letters(column))}
    for key in keys:
        if key not in columns.known and (column := by_letters.get(keep_letters(key))):
            raise errors.PredictorInputError.similar_column(index, key, column)
    if len(absent) == len(features):
        raise errors.PredictorInputError.no_known_column(index, keys, features, columns.known)


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping) or is_series(value)


def is_series(value: object) -> TypeGuard[pd.Series]:
    """Return whether the value is a pandas Series, such as a row of a DataFrame, without importing pandas."""
    series_type = getattr(sys.modules.get("pandas"), "Series", None)  # absent while another thread imports pandas
    return series_type is not None and isinstance(value, series_type)
