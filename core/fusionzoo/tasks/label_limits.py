"""Find what about the labels of train and val limits any model: classes with few rows, and extreme numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fusionzoo.errors.wording import cut, join_first

MIN_ROWS = 10  # of a class: with fewer, a single row changes its recall by more than 10 points
MAX_NAMED = 3
MIN_NUMBERS = 20  # of a column: with fewer, one row of a normal distribution may have half of the variance
EXTREME_SHARE = 0.01  # of the rows: those farthest from the mean
MIN_DEVIATIONS = 3.0  # from the mean, in standard deviations
MAX_VARIANCE_SHARE = 0.5  # of these rows: 9 % in a normal distribution, 22 % in an exponential one


class LabelLimit(NamedTuple):
    """What limits a model, and what a user can do.

    Attributes:
        finding: a clause without a capital letter.
        effect: a clause; empty if this matters only where a training brings no improvement.
        fix: what a user can do, as the end of a sentence.
    """

    finding: str
    effect: str
    fix: str

    def describe(self) -> str:
        """Return the warning before the training."""
        return f"{self.state()}, so {self.effect}. Fix: {self.fix}."

    def state(self) -> str:
        """Return the finding as a sentence without its period."""
        return self.finding[0].upper() + self.finding[1:]


class RowCounts(NamedTuple):
    """The rows of each class: `names` such as "of class 'spam'", with their rows in train and in val."""

    names: Sequence[str]
    train: np.ndarray
    val: np.ndarray


def find_rare_rows(counts: RowCounts, metrics: str, fraction: float | None) -> list[LabelLimit]:
    """Return the classes with fewer than 10 rows in train or val, as one limit; val has at least one row of each.

    Args:
        counts: the rows of each class.
        metrics: names of metrics to which each class contributes the same.
        fraction: the share of train that the job split off as val; None for a channel of its own.
    """
    train, val = counts.train, counts.val
    found = np.flatnonzero((val > 0) & (np.minimum(train, val) < MIN_ROWS))
    if not len(found):
        return []
    rare: list[int] = found[np.lexsort((train[found], val[found]))].tolist()
    shown = [f"{cut(counts.names[k], 60)} ({train[k]:,} in train, {val[k]:,} in val)" for k in rare]
    more_rows = f"add rows {counts.names[rare[0]]}" if len(rare) == 1 else "add such rows"
    fix = more_rows if fraction is None else f"{more_rows}, or raise val_fraction (it is {fraction:g})"
    effect = f"metrics of val such as {metrics} depend on single rows"
    return [LabelLimit(f"there are few rows {join_first(shown, MAX_NAMED)}", effect, fix)]


def find_extreme_rows(values: np.ndarray) -> np.ndarray:
    """Return the indices of the 1 % of the rows farthest from the mean, if they have more than half of the variance.

    None are returned if at least half of the values are equal: the others are then no extremes, but another case.

    Args:
        values: numbers [rows] on the scale that the loss is computed on.
    """
    nothing = np.zeros(0, np.int64)
    if len(values) < MIN_NUMBERS or not np.abs(values - np.median(values)).astype(bool).mean() > 0.5:
        return nothing
    squares = (values - values.mean()) ** 2
    count = max(1, int(EXTREME_SHARE * len(values)))
    rows = np.argpartition(squares, -count)[-count:]
    rows = rows[squares[rows] > MIN_DEVIATIONS**2 * squares.mean()]
    return rows if squares[rows].sum() > MAX_VARIANCE_SHARE * squares.sum() else nothing


def describe_extremes(split: str, column: str, numbers: np.ndarray, rows: np.ndarray, values: np.ndarray) -> str:
    """Return the clause about the extreme numbers of a column.

    Args:
        split: the name of the split.
        column: the name of the column.
        numbers: its numbers [rows] in the units of the data.
        rows: the result of `find_extreme_rows`, not empty.
        values: the numbers on the scale that the loss is computed on.
    """
    squares = (values - values.mean()) ** 2
    ends = [
        f"{name} {end:.4g}"
        for name, end in (("minimum", numbers.min()), ("maximum", numbers.max()))
        if end in numbers[rows]
    ]
    which = "1 row has" if len(rows) == 1 else f"{len(rows):,} rows have"
    return (
        f"the target '{column}' has extreme values in {split} ({', '.join(ends)}, mean {numbers.mean():.4g}, median "
        f"{np.median(numbers):.4g}): {which} {squares[rows].sum() / squares.sum():.0%} of the variance of "
        f"{len(numbers):,} rows"
    )
