"""Numbers: standardised with the training split's statistics; a missing one is a flag, never a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.bottom_k import BottomK
from fusionzoo.data.reading.channel import Rows

TEXTS = dict.fromkeys(("", "na", "n/a", "#n/a", "nan", "-nan", "null", "none")) | {"false": "0", "true": "1"}
BINS = 32
PIECE = 16_384  # values whose mean and variance are computed at once
SAMPLE = 16_384  # values from which quantiles are taken
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NumberEncoder:
    """One number column: mean and standard deviation of what is present, and quantile edges, standardised.

    `fences`, where there are some, are the lowest and the highest value; what lies beyond becomes one of them.
    """

    name: str
    mean: float
    std: float
    edges: tuple[float, ...]
    fences: tuple[float, float] | None = None

    @classmethod
    def of(
        cls, name: str, mean: float, std: float, edges: Sequence[float], fences: Sequence[float] | None = None
    ) -> NumberEncoder:
        """The encoder from its fields as JSON holds them."""
        return cls(name, mean, std, tuple(edges), None if fences is None else (fences[0], fences[1]))

    def encode(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values [rows] float32, 0 where missing; and the missing flags [rows] bool.

        Raises:
            errors.DataError: a value is not a finite number; names rows.
        """
        values = as_numbers(rows, self.name)
        missing = np.isnan(values)
        if self.fences is not None:
            values = np.clip(values, *self.fences)
        standardised = np.clip((values - self.mean) / self.std, -LARGEST, LARGEST)
        return np.where(missing, 0.0, standardised).astype(np.float32), missing


def as_numbers(rows: Rows, column: str) -> np.ndarray:
    """A column's values as float64 [rows], NaN where missing.

    Raises:
        errors.DataError: the column holds dates, text or nested values, or a value is beyond what float32 can hold.
    """
    values = rows.columns[column]
    kind = values.type
    if pa.types.is_null(kind):
        return np.full(len(values), np.nan)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        numbers = _parse(rows, column, values)
    elif pa.types.is_boolean(kind):
        numbers = values.cast(pa.int8()).cast(pa.float64())
    elif pa.types.is_decimal(kind) or pa.types.is_float32(kind):
        numbers = values.cast(pa.string()).cast(pa.float64())  # 0.1 of 32 bits is 0.1, as text files have it
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = values.cast(pa.float64(), safe=False)
    else:
        is_category = pa.types.is_temporal(kind) and not pa.types.is_duration(kind)
        raise errors.DataError([errors.column_without_numbers(rows.source, column, str(kind), is_category)])
    result: np.ndarray = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False)
    _refuse(rows, column, np.flatnonzero(np.abs(result) > LARGEST), values)
    return result


def _parse(rows: Rows, column: str, values: pa.Array) -> pa.Array:
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    lower = pc.utf8_lower(text)
    for word, number in TEXTS.items():
        text = pc.if_else(pc.equal(lower, word), pa.scalar(number, pa.string()), text)
    shaped = pc.match_substring_regex(text, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    _refuse(rows, column, np.flatnonzero(pc.invert(pc.fill_null(shaped, True)).to_numpy(zero_copy_only=False)), values)
    return pc.replace_substring_regex(text, r"^\+", "").cast(pa.float64())


def _refuse(rows: Rows, column: str, bad: np.ndarray, values: pa.Array) -> None:
    if len(bad):
        examples = [(rows.row(int(i)), values[int(i)].as_py()) for i in bad[:3]]
        raise errors.DataError([errors.not_numbers(rows.source, column, len(bad), examples)])


class NumberStatistics:
    """The running fit of one number column: statistics of the values that are present in train.

    They depend on the order of the values, but not on how they are spread over blocks; up to `PIECE` values not even
    on their order. Mean and deviation are those of all values: of sorted pieces of `PIECE` values, merged by the
    parallel formula of Chan, Golub and LeVeque (1979). Quantiles are those of all values up to `SAMPLE` of them, and
    beyond it of a uniform sample of that size, where a quantile is one of another rank, with a standard error of
    0.39 % of the values at the median and less elsewhere. Holds some 0.5 MB, however many values there are.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._piece = np.empty(PIECE)
        self._filled = 0
        self._moments = _Moments(0, 0.0, 0.0, inf, -inf)  # of all whole pieces
        self._sample = BottomK(SAMPLE)
        self.warnings: list[str] = []  # of `fit`

    def add(self, values: np.ndarray) -> None:
        """A block's values, float64 [rows], NaN where missing."""
        present = values[~np.isnan(values)]
        self._sample.add(len(present), lambda taken: pa.RecordBatch.from_pydict({"value": present[taken]}))
        while len(present):
            end = min(PIECE, self._filled + len(present))
            some, present = np.split(present, [end - self._filled])
            self._piece[self._filled : end] = some
            self._filled = end
            if end == PIECE:
                self._moments, self._filled = self._all_moments(), 0

    def fit(self, clip_outliers: float | None = None) -> NumberEncoder:
        """The encoder of the values so far; a constant column has deviation 1.

        Args:
            clip_outliers: how many interquartile ranges beyond the quartiles the fences are (Tukey 1977); without it,
                there are none. With fences, mean and deviation are those of the clipped sample. A column whose
                quartiles are equal is not clipped, and one of `warnings` says so.
        """
        if not self._sample.seen:
            self.warnings.append(errors.number_without_values(self.name))
            return NumberEncoder(self.name, 0.0, 1.0, ())
        values = np.sort(self._sample.rows()["value"].to_numpy())
        fences = None if clip_outliers is None else self._fences(values, clip_outliers)
        if fences is None:
            moments = self._all_moments()
        else:
            values = np.clip(values, *fences)
            moments = _Moments.of(values)
        mean, std = moments.mean, moments.std
        edges = np.unique(np.quantile((values - mean) / std, np.linspace(0, 1, BINS + 1)).astype(np.float32))
        return NumberEncoder(self.name, mean, std, tuple(float(edge) for edge in edges), fences)

    def _fences(self, values: np.ndarray, ranges: float) -> tuple[float, float] | None:
        low, high = np.quantile(values, [0.25, 0.75]).tolist()
        if low == high:
            self.warnings.append(errors.number_not_clipped(self.name, low))
            return None
        return low - ranges * (high - low), high + ranges * (high - low)

    def _all_moments(self) -> _Moments:
        rest = np.sort(self._piece[: self._filled])
        return self._moments.merged(_Moments.of(rest)) if len(rest) else self._moments


@dataclass(frozen=True)
class _Moments:
    """Count, mean, variance and range of some values."""

    count: int
    mean: float
    variance: float
    low: float
    high: float

    @classmethod
    def of(cls, ordered: np.ndarray) -> _Moments:
        """Those of sorted values: sorted, so that the order of the rows cannot move a last digit."""
        return cls(len(ordered), float(ordered.mean()), float(ordered.var()), float(ordered[0]), float(ordered[-1]))

    @property
    def std(self) -> float:
        """The deviation; 1 where the values are all the same, or too close for a deviation above zero."""
        return (sqrt(self.variance) or 1.0) if self.low < self.high else 1.0

    def merged(self, other: _Moments) -> _Moments:
        """Those of both, of which `other` has some values; where self has none, those of `other` to the last digit."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * shift * shift
        low, high = min(self.low, other.low), max(self.high, other.high)
        return _Moments(count, self.mean + share * shift, variance, low, high)
