"""Numbers: standardised with the training split's statistics; a missing one is a flag, never a value."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.reading import Rows

log = logging.getLogger(__name__)

TEXTS = dict.fromkeys(("", "na", "n/a", "#n/a", "nan", "-nan", "null", "none")) | {"false": "0", "true": "1"}
BINS = 32
LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NumberEncoder:
    """One number column: mean and standard deviation of what is present, and quantile edges, standardised."""

    name: str
    mean: float
    std: float
    edges: tuple[float, ...]

    def encode(self, rows: Rows) -> tuple[np.ndarray, np.ndarray]:
        """Standardised values [rows] float32, 0 where missing; and the missing flags [rows] bool.

        Raises:
            errors.DataError: a value is not a finite number; names rows.
        """
        values = as_numbers(rows, self.name)
        missing = np.isnan(values)
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
    elif pa.types.is_decimal(kind):
        numbers = values.cast(pa.string()).cast(pa.float64())  # Arrow's direct way is not exact
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        numbers = values.cast(pa.float64(), safe=False)
    else:
        raise errors.DataError([errors.column_of_wrong_type(rows.source, column, str(kind), "numbers")])
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


def fit(name: str, blocks: Sequence[np.ndarray]) -> NumberEncoder:
    """Statistics of the values that are present in train (NaN is absent); a constant column has deviation 1."""
    values = np.concatenate(blocks) if blocks else np.empty(0)
    values = np.sort(values[~np.isnan(values)])  # sorted, so that the order of the rows cannot move a last digit
    if not len(values):
        log.warning(errors.number_without_values(name))
        return NumberEncoder(name, 0.0, 1.0, ())
    mean = float(values.mean())
    std = (float(values.std()) or 1.0) if values[0] < values[-1] else 1.0
    edges = np.unique(np.quantile((values - mean) / std, np.linspace(0, 1, BINS + 1)).astype(np.float32))
    return NumberEncoder(name, mean, std, tuple(float(edge) for edge in edges))
