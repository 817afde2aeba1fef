"""A sample of a stream of rows, the same however the rows are spread over blocks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from fusionzoo.data.hashing import splitmix64

SEED = 0x5DEECE66D
MOST_BATCHES = 1_000  # held apart: each takes some hundred bytes, however few rows it has


class BottomK:
    """A uniform sample without replacement: the `size` rows whose priorities are lowest.

    A row's priority is a hash of its place in the stream, so that the sample depends on the order of the rows and
    nothing else (bottom-k sampling, Cohen and Kaplan 2007). Holds no
    more than 1.25 * `size` rows and those of one block.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen = 0
        self._batches: list[pa.RecordBatch] = []
        self._priorities: list[np.ndarray] = []
        self._held = 0
        self._bound = np.uint64(2**64 - 1)  # a row with a higher priority is certain not to stay

    def add(self, count: int, rows: Callable[[np.ndarray], pa.RecordBatch]) -> None:
        """The next `count` rows of the stream; `rows` gives those at some positions [taken] int64 among them."""
        priorities = _priorities(self.seen, count)
        self.seen += count
        taken = np.flatnonzero(priorities <= self._bound)
        if not len(taken):
            return
        self._batches.append(rows(taken))
        self._priorities.append(priorities[taken])
        self._held += len(taken)
        if self._held > 1.25 * self.size or len(self._batches) > MOST_BATCHES:
            self._compact()

    def rows(self) -> pa.RecordBatch:
        """The sample in the order of priorities, which is a random one; at least one row must have been added."""
        batch, priorities = self._joined()
        return batch.take(np.argsort(priorities)[: self.size])

    def _compact(self) -> None:
        batch, priorities = self._joined()
        if len(batch) > self.size:
            lowest = np.argpartition(priorities, self.size - 1)[: self.size]
            batch, priorities = batch.take(lowest), priorities[lowest]
            self._bound = priorities.max()
        self._batches, self._priorities, self._held = [batch], [priorities], len(batch)

    def _joined(self) -> tuple[pa.RecordBatch, np.ndarray]:
        schema = self._batches[0].schema  # `pa.concat_batches` came with Arrow 19
        columns = [pa.concat_arrays([batch.column(i) for batch in self._batches]) for i in range(len(schema))]
        return pa.RecordBatch.from_arrays(columns, schema=schema), np.concatenate(self._priorities)


def _priorities(first: int, count: int) -> np.ndarray:
    """A distinct pseudo-random priority [count] uint64 of each place from `first` on."""
    return splitmix64(splitmix64(np.arange(first, first + count, dtype=np.uint64)) ^ np.uint64(SEED))
