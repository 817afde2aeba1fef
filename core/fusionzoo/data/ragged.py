"""Ragged lists: the values of all lists in one flat array, and the position where each list starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """Lists of different lengths. List i is values[starts[i]:starts[i + 1]]; `starts` is [lists + 1] int64."""

    values: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.values[start:end] for start, end in pairwise(self.starts))

    @property
    def lengths(self) -> np.ndarray:
        """The length of each list, [lists] int64."""
        return np.diff(self.starts)


def compute_starts(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Return the start of each of several adjacent ranges, and the end of the last one, [ranges + 1] int64."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def concatenate_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return the integers start, start + 1, ... of each range, one range after the other, int64."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    integers: np.ndarray = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return integers


def sum_segments(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return the sum of each list that `starts` [lists + 1] delimits; 0 for an empty list."""
    running = np.zeros(len(values) + 1, values.dtype)
    np.cumsum(values, out=running[1:])
    total: np.ndarray = running[starts[1:]] - running[starts[:-1]]  # integers wrap around, so this is exact
    return total
