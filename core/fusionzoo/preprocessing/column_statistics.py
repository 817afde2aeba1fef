"""Statistics of the columns, in memory that does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.bottom_k import BottomK
from fusionzoo.data.reading.column_text import has_text_form, values_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.numbers import column_as_numbers

SAMPLE_SIZE = 16_384  # numbers, or lengths of texts, from which quantiles are computed
MAX_DISTINCT = 100_000  # distinct values that are counted in a column
QUANTILES: Mapping[str, float] = {"5 %": 0.05, "25 %": 0.25, "50 %": 0.5, "75 %": 0.75, "95 %": 0.95}
CODE_PATTERN = r"^[+-]?0[0-9]"  # a text such as 007 is a code, not a number


class NumberSummary:
    """The range, the mean and the quantiles of numbers; exact up to `SAMPLE_SIZE` numbers, then of a sample."""

    def __init__(self) -> None:
        self.count, self.minimum, self.maximum = 0, inf, -inf
        self._total = 0.0
        self._sample = BottomK(SAMPLE_SIZE)

    def add(self, numbers: np.ndarray) -> None:
        """Add finite numbers, float64 [values]."""
        if not len(numbers):
            return
        self.count += len(numbers)
        self.minimum = min(self.minimum, float(numbers.min()))
        self.maximum = max(self.maximum, float(numbers.max()))
        self._total += float(numbers.sum())
        self._sample.add(len(numbers), lambda selected: pa.RecordBatch.from_pydict({"value": numbers[selected]}))

    def as_json(self) -> dict[str, Any]:
        """Return the summary as plain values; empty without numbers."""
        if not self.count:
            return {}
        quantiles = np.quantile(self._sample.rows()["value"].to_numpy(), list(QUANTILES.values())).tolist()
        mean = self._total / self.count
        named = dict(zip(QUANTILES, quantiles, strict=True))
        return {"min": self.minimum, "mean": mean, "max": self.maximum, "quantiles": named}


class DistinctCount:
    """Counts distinct values by 64-bit hashes of their text, up to `MAX_DISTINCT`."""

    def __init__(self) -> None:
        self.share = 0.0  # of the values so far that are distinct
        self.is_minimum = False  # there may be more distinct values than were counted
        self._hashes = np.zeros(0, np.uint64)
        self._values = 0

    @property
    def count(self) -> int:
        """The distinct values that were counted."""
        return len(self._hashes)

    def add(self, values: pa.Array) -> None:
        """Add values without null."""
        if self.is_minimum or not len(values):
            return
        self._values += len(values)
        texts = values_as_text(values.unique()).to_numpy(zero_copy_only=False)
        self._hashes = np.union1d(self._hashes, pd.util.hash_array(texts, categorize=False))
        self.share = self.count / self._values
        if self.count > MAX_DISTINCT:
            self._hashes, self.is_minimum = self._hashes[:MAX_DISTINCT], True


class ColumnStatistics:
    """The running statistics of one column. Values that training reads as missing count as missing."""

    def __init__(self, field: pa.Field) -> None:
        self.name, self.type = field.name, field.type
        self.rows = self.missing = 0
        self.is_text = pa.types.is_string(field.type) or pa.types.is_large_string(field.type)
        self.can_be_numeric = not pa.types.is_null(field.type) and has_text_form(field.type)
        self.has_codes = False
        self.distinct = DistinctCount() if has_text_form(field.type) else None
        self.numbers, self.lengths, self.words = NumberSummary(), NumberSummary(), NumberSummary()

    @property
    def present(self) -> int:
        """The number of values that are not missing."""
        return self.rows - self.missing

    @property
    def is_numeric(self) -> bool:
        """Whether all values are numbers, or texts that are numbers, and there are some."""
        return self.can_be_numeric and self.numbers.count > 0 and not self.has_codes

    def add(self, rows: Rows) -> None:
        """Add a block of rows, in which words for null are null already."""
        values = rows.columns[self.name]
        is_missing = values.is_null(nan_is_null=True)
        self.rows += len(values)
        self.missing += is_missing.true_count
        present = values.filter(pc.invert(is_missing))
        if self.distinct is not None:
            self.distinct.add(present)
        if self.is_text:
            self.lengths.add(_to_floats(pc.utf8_length(present)))
            self.words.add(_to_floats(pc.count_substring_regex(present, r"\S+")))
            self.has_codes |= bool(pc.any(pc.match_substring_regex(present, CODE_PATTERN)).as_py())
        if self.can_be_numeric:
            self._add_numbers(Rows({self.name: present}, rows.source, rows.first_row, rows.typed))

    def _add_numbers(self, rows: Rows) -> None:
        try:
            numbers = column_as_numbers(rows, self.name)
        except errors.DataError:  # text, dates, or a number that is too large
            self.can_be_numeric, self.numbers = False, NumberSummary()
        else:
            self.numbers.add(numbers[~np.isnan(numbers)])

    def as_json(self) -> dict[str, Any]:
        """Return the statistics as plain values."""
        report: dict[str, Any] = {
            "missing": self.missing,
            "missing_share": self.missing / self.rows if self.rows else 0.0,
        }
        if self.distinct is not None:
            report["distinct"] = self.distinct.count
            report["distinct_is_minimum"] = self.distinct.is_minimum
        if self.is_numeric:
            report["numbers"] = self.numbers.as_json()
        if self.is_text:
            report["characters"], report["words"] = self.lengths.as_json(), self.words.as_json()
        return report


def _to_floats(counts: pa.Array) -> np.ndarray:
    floats: np.ndarray = counts.to_numpy(zero_copy_only=False).astype(np.float64)
    return floats
