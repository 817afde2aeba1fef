"""A uniform sample of a stream of rows that does not depend on how the rows are divided into blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from fusionzoo.data.hashing import splitmix64

SEED = 0x5DEECE66D
MAX_BATCHES = 1_000  # held before they are merged; each needs some hundred bytes, even with a single row


class BottomK:
    """A uniform sample without replacement: the `size` rows with the lowest priorities.

    The priority of a row is a hash of its position in the stream, so the sample depends only on the order of the rows
    (bottom-k sampling, Cohen and Kaplan 2007). Holds at most 1.25 * `size` rows plus those of one block.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = 0
        self._batches: list[pa.RecordBatch] = []
        self._priorities: list[np.ndarray] = []
        self._held = 0
        self._max_priority = np.uint64(2**64 - 1)  # a row with a higher priority cannot be in the sample

    def add(self, count: int, select_rows: Callable[[np.ndarray], pa.RecordBatch]) -> None:
        """Add the next `count` rows of the stream.

        Args:
            select_rows: returns the rows at these positions, [selected] int64, among the `count` rows.
        """
        priorities = _compute_priorities(self.seen, count)
        self.seen += count
        selected = np.flatnonzero(priorities <= self._max_priority)
        if not len(selected):
            return
        self._batches.append(select_rows(selected))
        self._priorities.append(priorities[selected])
        self._held += len(selected)
        if self._held > 1.25 * self.size or len(self._batches) > MAX_BATCHES:
            self._compact()

    def rows(self) -> pa.RecordBatch:
        """Return the sample in the order of priorities, which is random. At least one row must have been added."""
        batch, priorities = self._concatenate()
        return batch.take(np.argsort(priorities)[: self.size])

    def _compact(self) -> None:
        batch, priorities = self._concatenate()
        if len(batch) > self.size:
            lowest = np.argpartition(priorities, self.size - 1)[: self.size]
            batch, priorities = batch.take(lowest), priorities[lowest]
            self._max_priority = priorities.max()
        self._batches, self._priorities, self._held = [batch], [priorities], len(batch)

    def _concatenate(self) -> tuple[pa.RecordBatch, np.ndarray]:
        schema = self._batches[0].schema  # `pa.concat_batches` only exists since Arrow 19
        columns = [pa.concat_arrays([batch.column(i) for batch in self._batches]) for i in range(len(schema))]
        return pa.RecordBatch.from_arrays(columns, schema=schema), np.concatenate(self._priorities)


def _compute_priorities(first: int, count: int) -> np.ndarray:
    """Return a distinct pseudo-random priority, [count] uint64, for each position from `first` on."""
    return splitmix64(splitmix64(np.arange(first, first + count, dtype=np.uint64)) ^ np.uint64(SEED))
