"""Lists of different lengths in two flat arrays: the values of all, and where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Ragged:
    """List i is values[starts[i]:starts[i + 1]]; `starts` [lists + 1] int64 begins with 0."""

    values: np.ndarray
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.values[begin:end] for begin, end in pairwise(self.starts))

    @property
    def lengths(self) -> np.ndarray:
        """Length of each list [lists] int64."""
        return np.diff(self.starts)


def starts_of(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where each of several neighbouring ranges begins, and where the last one ends [ranges + 1] int64."""
    starts = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    return starts


def concatenated_ranges(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The numbers start, start + 1, ... of each range, one range after the other, int64."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    numbers: np.ndarray = np.arange(total, dtype=np.int64) + np.repeat(starts - (ends - lengths), lengths)
    return numbers


def segment_sums(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Sum of each of the lists that `starts` [lists + 1] cuts the values into; 0 for an empty list."""
    running = np.zeros(len(values) + 1, values.dtype)
    np.cumsum(values, out=running[1:])
    total: np.ndarray = running[starts[1:]] - running[starts[:-1]]  # integers wrap around, so that this is exact
    return total
