"""Number columns: standardized with the statistics of train. A missing value is a flag, never a number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.bottom_k import BottomK
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import wrong_type

NUMBER_OF_TEXT = {"": None, "false": "0", "true": "1"}  # the words of null_values are null already
BINS = 32
PIECE_SIZE = 16_384  # values for which mean and variance are computed at once
SAMPLE_SIZE = 16_384  # values from which quantiles are computed
MAX_FLOAT32 = float(np.finfo(np.float32).max)
# Larger standardized values are clipped: layers would overflow. At most one value of train in a million exceeds this
# number of standard deviations (Chebyshev's inequality).
MAX_STANDARDIZED = 1000.0
MIN_CENTRAL_RANGE = 1e-3  # of the central 90 % of train, in standard deviations; a narrower range causes a warning


@dataclass(frozen=True)
class NumberEncoder:
    """One number column: mean and standard deviation of the present values, and standardized quantile edges.

    `fences` are the lowest and highest value, if outliers are clipped.
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
        """Return the encoder of its fields as they are in JSON."""
        return cls(name, mean, std, tuple(edges), None if fences is None else (fences[0], fences[1]))

    def encode(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Return standardized values, [rows] float32 with 0 where missing, and missing flags, [rows] bool.

        Standardized values are clipped to `MAX_STANDARDIZED`.

        Raises:
            errors.DataError: a value is not a finite number; names rows.
        """
        values = column_as_numbers(rows, self.name)
        missing = np.isnan(values)
        if self.fences is not None:
            values = np.clip(values, *self.fences)
        standardized = np.clip((values - self.mean) / self.std, -MAX_STANDARDIZED, MAX_STANDARDIZED)
        return np.where(missing, 0.0, standardized).astype(np.float32), missing


def find_clipped(standardized: np.ndarray) -> np.ndarray:
    """Return which standardized values were clipped to `MAX_STANDARDIZED`, bool of the same shape."""
    clipped: np.ndarray = np.abs(standardized) >= MAX_STANDARDIZED
    return clipped


@dataclass(frozen=True)
class ParsedNumbers:
    """The values of a column, and what is wrong with some of them.

    `values`, [rows] float64, has NaN where the value is missing, and infinity where it cannot be used.
    """

    values: np.ndarray
    problems: tuple[errors.Problem, ...] = ()


def column_as_numbers(rows: Rows, column: str) -> np.ndarray:
    """Return the values of a column as float64, [rows], with NaN where missing.

    Raises:
        errors.DataError: the column holds dates, text or nested values, or a value exceeds the range of float32.
    """
    parsed = parse_numbers(rows, column)
    if parsed.problems:
        raise errors.DataError(parsed.problems)
    return parsed.values


def parse_numbers(rows: Rows, column: str) -> ParsedNumbers:
    """Return the values of a column, and all of their problems."""
    values = rows.columns[column]
    arrow_type = values.type
    if pa.types.is_null(arrow_type):
        return ParsedNumbers(np.full(len(values), np.nan))
    not_numbers = np.zeros(len(values), bool)
    if pa.types.is_string(arrow_type) or pa.types.is_large_string(arrow_type):
        numbers, not_numbers = _parse_texts(values)
    elif pa.types.is_boolean(arrow_type):
        numbers = values.cast(pa.int8()).cast(pa.float64())
    elif pa.types.is_decimal(arrow_type) or pa.types.is_float32(arrow_type):
        numbers = values.cast(pa.string()).cast(pa.float64())  # a float32 of 0.1 is 0.1, as in text files
    elif pa.types.is_integer(arrow_type) or pa.types.is_floating(arrow_type):
        numbers = values.cast(pa.float64(), safe=False)
    else:
        is_null = values.is_null().to_numpy(zero_copy_only=False)
        return ParsedNumbers(np.where(is_null, np.nan, np.inf), (wrong_type(rows, column, "numbers"),))
    result: np.ndarray = pc.fill_null(numbers, float("nan")).to_numpy(zero_copy_only=False)
    if pa.types.is_floating(arrow_type):
        not_numbers = np.isinf(result)
    too_large = (np.abs(result) > MAX_FLOAT32) & ~not_numbers
    present = len(values) - int(np.sum(np.isnan(result) & ~not_numbers))
    problems = []
    for mask, describe in ((not_numbers, errors.values_not_numeric), (too_large, errors.values_too_large)):
        if mask.any():
            indices = np.flatnonzero(mask)
            problem = describe(rows.source, column, len(indices), rows.examples(indices, values))
            problems.append(problem.out_of(present, len(rows)))
    if problems:
        result = np.where(not_numbers | too_large, np.inf, result)
    return ParsedNumbers(result, tuple(problems))


def _parse_texts(values: pa.Array) -> tuple[pa.Array, np.ndarray]:
    """Return texts as float64, null where missing or not numeric, and which are not numeric, [rows] bool."""
    text = pc.utf8_trim_whitespace(values.cast(pa.string()))
    lower = pc.utf8_lower(text)
    for word, number in NUMBER_OF_TEXT.items():
        text = pc.if_else(pc.equal(lower, word), pa.scalar(number, pa.string()), text)
    is_number = pc.match_substring_regex(text, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$")
    invalid = pc.invert(pc.fill_null(is_number, True))
    text = pc.if_else(invalid, pa.scalar(None, pa.string()), text)
    numbers = pc.replace_substring_regex(text, r"^\+", "").cast(pa.float64())
    return numbers, invalid.to_numpy(zero_copy_only=False)


class NumberStatistics:
    """The running fit of one number column: statistics of the values that are present in train.

    The statistics depend on the order of the values, but not on how they are divided into blocks. Up to `PIECE_SIZE`
    values, they do not depend on the order either. Mean and standard deviation are exact: those of sorted pieces of
    `PIECE_SIZE` values, merged by the parallel formula of Chan, Golub and LeVeque (1979). Quantiles are exact up to
    `SAMPLE_SIZE` values. Beyond that they are those of a uniform sample of this size: the rank of a quantile has a
    standard error of 0.39 % of the values at the median, and less elsewhere. Memory: about 0.5 MB for any number of
    values.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._piece = np.empty(PIECE_SIZE)
        self._filled = 0
        self._moments = _Moments(0, 0.0, 0.0, inf, -inf)  # of all complete pieces
        self._sample = BottomK(SAMPLE_SIZE)
        self.warnings: list[str] = []  # set by `fit`

    def add(self, values: np.ndarray) -> None:
        """Add the values of a block, float64 [rows], with NaN where missing."""
        present = values[~np.isnan(values)]
        self._sample.add(len(present), lambda selected: pa.RecordBatch.from_pydict({"value": present[selected]}))
        while len(present):
            end = min(PIECE_SIZE, self._filled + len(present))
            fitting, present = np.split(present, [end - self._filled])
            self._piece[self._filled : end] = fitting
            self._filled = end
            if end == PIECE_SIZE:
                self._moments, self._filled = self._all_moments(), 0

    def fit(self, clip_outliers: float | None = None) -> NumberEncoder:
        """Return the encoder of the values so far. A constant column has standard deviation 1.

        Args:
            clip_outliers: distance of the fences from the quartiles, in interquartile ranges (Tukey 1977); None sets
                no fences. With fences, mean and standard deviation are those of the clipped sample. A column with
                equal quartiles is not clipped, and `warnings` says so.
        """
        if not self._sample.seen:
            self.warnings.append(
                f"Number column '{self.name}' has no value in train: the model can only use that it is missing."
            )
            return NumberEncoder(self.name, 0.0, 1.0, ())
        values = np.sort(self._sample.rows()["value"].to_numpy())
        fences = None if clip_outliers is None else self._compute_fences(values, clip_outliers)
        if fences is None:
            moments = self._all_moments()
        else:
            values = np.clip(values, *fences)
            moments = _Moments.of(values)
        mean, std = moments.mean, moments.std
        self._warn_of_extreme_values(values, std)
        edges = np.unique(np.quantile((values - mean) / std, np.linspace(0, 1, BINS + 1)).astype(np.float32))
        return NumberEncoder(self.name, mean, std, tuple(float(edge) for edge in edges), fences)

    def _warn_of_extreme_values(self, ordered: np.ndarray, std: float) -> None:
        low, high = np.quantile(ordered, [0.05, 0.95]).tolist()
        if 0 < high - low < MIN_CENTRAL_RANGE * std:
            self.warnings.append(
                f"Number column '{self.name}' has extreme values in train ({ordered[0]:g} to {ordered[-1]:g}): the "
                f"central 90 % of the values span only {(high - low) / std:.1g} standard deviations, so the model can "
                "hardly tell them apart. Correct the extreme values, or set clip_outliers to 3."
            )

    def _compute_fences(self, values: np.ndarray, ranges: float) -> tuple[float, float] | None:
        low, high = np.quantile(values, [0.25, 0.75]).tolist()
        if low == high:
            self.warnings.append(f"Number column '{self.name}' is not clipped: both quartiles in train are {low:g}.")
            return None
        return low - ranges * (high - low), high + ranges * (high - low)

    def _all_moments(self) -> _Moments:
        rest = np.sort(self._piece[: self._filled])
        return self._moments.merge(_Moments.of(rest)) if len(rest) else self._moments


@dataclass(frozen=True)
class _Moments:
    """Count, mean, variance and range of values."""

    count: int
    mean: float
    variance: float
    low: float
    high: float

    @classmethod
    def of(cls, ordered: np.ndarray) -> _Moments:
        """Return the moments of sorted values. Sorting makes the result independent of the order to the last digit."""
        low, high = float(ordered[0]), float(ordered[-1])
        return cls(len(ordered), _within(float(ordered.mean()), low, high), float(ordered.var()), low, high)

    @property
    def std(self) -> float:
        """The standard deviation; 1 if all values are equal, or too close for a standard deviation above zero."""
        return (sqrt(self.variance) or 1.0) if self.low < self.high else 1.0

    def merge(self, other: _Moments) -> _Moments:
        """Return the moments of both; `other` has at least one value. If self has none, returns `other` exactly."""
        count = self.count + other.count
        share = other.count / count
        shift = other.mean - self.mean
        variance = (1 - share) * self.variance + share * other.variance + share * (1 - share) * shift * shift
        low, high = min(self.low, other.low), max(self.high, other.high)
        return _Moments(count, _within(self.mean + share * shift, low, high), variance, low, high)


def _within(mean: float, low: float, high: float) -> float:
    """Return the mean of values between `low` and `high`; rounding may have moved it far outside of equal values."""
    return min(max(mean, low), high)
