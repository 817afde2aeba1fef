"""Choose which rows form a batch, so that little is padded and the order is still random.

`docs/decisions/length-bucketing.md` explains why, with measurements.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ragged import compute_starts, sum_segments

if TYPE_CHECKING:
    from typing_extensions import Self

STRATA = 4  # of all rows by length; also the maximum number of length groups in which an encoder runs a batch
JITTER = 3  # how far rows move at random among rows of similar length, in rows of one stratum of a batch
MIN_STEPS_PER_BUCKET = 8  # with fewer, the same rows would often share a batch in the next epoch again
MAX_BUCKETS = 32


@dataclass(frozen=True)
class RowSizes:
    """The size of each row. A batch computes all chunks of its rows, each as long as the longest one.

    All values are at least 1.
    """

    chunks: np.ndarray  # [rows] int64
    longest: np.ndarray  # [rows] int64, tokens of the row's longest chunk

    @classmethod
    def of(cls, split: EncodedSplit) -> Self:
        """Return the sizes of a split's rows. A row without text counts as one chunk of one token."""
        if not split.has_text:
            ones = np.ones(len(split), np.int64)
            return cls(ones, ones)
        longest = np.maximum.reduceat(np.diff(split.chunk_starts), split.row_starts[:-1])
        return cls(np.diff(split.row_starts), longest)

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def tokens(self) -> np.ndarray:
        """Tokens that a batch of only this row computes, padding included, [rows] int64."""
        tokens: np.ndarray = self.chunks * self.longest
        return tokens

    def take(self, rows: np.ndarray) -> RowSizes:
        """Return the sizes of these rows."""
        return RowSizes(self.chunks[rows], self.longest[rows])


class TrainingOrder:
    """The batches of each epoch for one rank. Over all ranks, each row occurs once; (seed, epoch) decides the order.

    Without `max_tokens`, batches are length-stratified: each one joins `STRATA` groups of rows of similar length, one
    from each quarter of all rows by length. An encoder that runs chunks of similar length together pads little, and
    still no batch consists of only short or only long rows, which would make gradients noisy. `batch_size` is the
    maximum number of rows of a step over all ranks. A step has the same rows for any number of ranks, which share
    them evenly, each with rows of all lengths. The numbers of rows of two steps differ by at most one.

    With `max_tokens`, `batch_size` is ignored, and each batch of a rank holds rows of similar length, so that the
    budget is used: the number of chunks times the longest chunk is at most `max_tokens`. A row that alone exceeds the
    budget is a batch of its own; `rows_over_budget` counts such rows. The batches of one step have similar numbers of
    tokens, and are assigned to the ranks at random.

    Every epoch has the same number of `steps` on every rank. A rank's batch is empty only in a step with fewer rows
    than ranks. Without `group_by_length`, rows are in random order. Memory: 24 bytes per row, and about 60 more while
    an epoch is drawn.

    Raises:
        ValueError: there are no rows, or `rank` is not below `world_size`.
    """

    def __init__(
        self,
        sizes: RowSizes,
        batch_size: int,
        seed: int,
        *,
        max_tokens: int | None = None,
        group_by_length: bool = True,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not len(sizes) or not 0 <= rank < world_size:
            raise ValueError(f"no batches of {len(sizes)} rows for rank {rank} of {world_size}")
        self._seed, self._rank, self._world_size = seed, rank, world_size
        self._tokens = sizes.tokens
        self._batches: _StratifiedBatches | _BudgetBatches
        if max_tokens is None:
            self.rows_over_budget = 0
            self._batches = _StratifiedBatches(sizes.longest, batch_size, group_by_length)
        else:
            self.rows_over_budget = int((self._tokens > max_tokens).sum())
            max_buckets = MAX_BUCKETS if group_by_length else 1
            self._batches = _BudgetBatches(sizes, max_tokens, seed, world_size, max_buckets)
        self.steps = self._batches.steps

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return this rank's rows of each step, int64. To resume after step k, use `batches(epoch)[k:]`."""
        rng = np.random.default_rng((self._seed, epoch))
        rows, starts = self._batches.draw(rng)
        by_tokens = np.argsort(sum_segments(self._tokens[rows], starts), kind="stable")  # neighbors form a step
        step_order = rng.permutation(self.steps)
        ranks = (self._rank + rng.integers(self._world_size, size=self.steps)) % self._world_size
        if self._batches.is_per_rank:
            return [rows[starts[i] : starts[i + 1]] for i in by_tokens[step_order * self._world_size + ranks]]
        steps = [rows[starts[i] : starts[i + 1]] for i in by_tokens[step_order]]
        return [self._take_share(step, rank) for step, rank in zip(steps, ranks, strict=True)]

    def _take_share(self, rows: np.ndarray, rank: int) -> np.ndarray:
        """Return a rank's part of a step's rows: dealt back and forth by token count, so that ranks have equal work."""
        if self._world_size == 1:
            return rows
        back_and_forth = np.concatenate([np.arange(self._world_size), np.arange(self._world_size)[::-1]])
        position = np.argsort(np.argsort(-self._tokens[rows], kind="stable"))
        share: np.ndarray = rows[np.resize(back_and_forth, len(rows))[position] == rank]
        return share


class _StratifiedBatches:
    """Batches of `batch_size` rows for all ranks together, length-stratified or in random order."""

    is_per_rank = False

    def __init__(self, longest: np.ndarray, batch_size: int, group_by_length: bool) -> None:
        self.steps = -(-len(longest) // batch_size)
        self._longest, self._group_by_length = longest, group_by_length
        self._counts = np.diff(np.arange(self.steps + 1) * len(longest) // self.steps)  # rows of each batch

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return all rows, batch after batch and shorter ones first within a batch, and the start of each batch."""
        rows = rng.permutation(len(self._longest))
        if self._group_by_length:
            rows = rows[np.argsort(self._longest[rows], kind="stable")]
            jitter = JITTER * max(1, self._counts.max() / STRATA)
            rows = rows[np.argsort(np.arange(len(rows)) + rng.random(len(rows)) * jitter, kind="stable")]
            batch_of_row = []
            for stratum in range(STRATA):
                counts = (self._counts + stratum) // STRATA  # their sum over the strata is `self._counts`
                order = rng.permutation(len(counts))
                batch_of_row.append(np.repeat(order, counts[order]))
            rows = rows[np.argsort(np.concatenate(batch_of_row), kind="stable")]
        return rows, compute_starts(self._counts)


class _BudgetBatches:
    """Batches within a budget of tokens: rows of a length bucket are dealt at random to the batches of the bucket.

    Each round of dealing gives one row to each batch of a bucket, rows with the most chunks first, so the batches of a
    bucket have similar numbers of chunks. Which batch has how many rows is decided once, so that each epoch has the
    same number of steps.
    """

    is_per_rank = True

    def __init__(self, sizes: RowSizes, max_tokens: int, seed: int, world_size: int, max_buckets: int) -> None:
        by_length = np.random.default_rng(seed).permutation(len(sizes))  # ties in random order
        by_length = by_length[np.argsort(sizes.longest[by_length], kind="stable")]
        ordered = sizes.take(by_length)
        bucket = _assign_buckets(ordered, max_tokens, world_size, max_buckets)
        batches = _count_batches(ordered, bucket, max_tokens, world_size)
        self.steps = -(-int(batches.sum()) // world_size)
        rows = np.bincount(bucket)
        rounds = -(-rows // batches)
        position = np.arange(len(sizes)) - np.repeat(compute_starts(rows)[:-1], rows)  # within the bucket
        batch = position % np.repeat(batches, rows) + np.repeat(compute_starts(batches)[:-1], rows)
        self._sort_key = np.empty(len(sizes), np.int64)  # by bucket, then most chunks first
        self._sort_key[by_length] = (bucket + 1) * (sizes.chunks.max() + 1) - ordered.chunks
        self._round = position // np.repeat(batches, rows) + np.repeat(compute_starts(rounds)[:-1], rows)
        self._by_batch = np.argsort(batch, kind="stable")
        self._starts = compute_starts(np.bincount(batch, minlength=self.steps * world_size))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Return all rows, batch after batch, and the start of each batch."""
        rows = rng.permutation(len(self._sort_key))
        rows = rows[np.argsort(self._sort_key[rows], kind="stable")]
        rows = rows[np.argsort(self._round + rng.random(len(rows)), kind="stable")]  # shuffle within each round
        return rows[self._by_batch], self._starts


def _assign_buckets(ordered: RowSizes, max_tokens: int, world_size: int, max_buckets: int) -> np.ndarray:
    """Return the bucket of each row, [rows] int64, for rows ordered by length.

    The buckets are quantiles by length with equal numbers of tokens. Rows that need a batch of their own are in a last
    bucket.
    """
    is_alone = ordered.tokens > max_tokens
    bucket = np.zeros(len(ordered), np.int64)
    other_rows = np.flatnonzero(~is_alone)
    if len(other_rows):
        sizes = ordered.take(other_rows)
        cumulative = np.cumsum(sizes.tokens)
        steps = -(-int(cumulative[-1]) // (max_tokens * world_size))
        count = min(max(steps // MIN_STEPS_PER_BUCKET, 1), max_buckets)
        quantiles = np.arange(1, count) / count * cumulative[-1]
        borders = np.unique([0, *np.searchsorted(cumulative, quantiles), len(other_rows)])
        bucket[other_rows] = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
        longest = sizes.longest[borders[1:] - 1]
        is_alone |= ordered.chunks * longest[bucket] > max_tokens  # many short chunks among longer ones
    bucket[is_alone] = bucket.max() + 1
    renumbered: np.ndarray = np.unique(bucket, return_inverse=True)[1]
    return renumbered


def _count_batches(ordered: RowSizes, bucket: np.ndarray, max_tokens: int, world_size: int) -> np.ndarray:
    """Return the batches of each bucket, [buckets] int64; the sum is a multiple of `world_size` if possible."""
    rows = np.bincount(bucket)
    chunks = np.split(ordered.chunks[np.lexsort((-ordered.chunks, bucket))], np.cumsum(rows)[:-1])
    longest = np.zeros(len(rows), np.int64)
    np.maximum.at(longest, bucket, ordered.longest)
    batches = np.array(
        [_min_batches(sizes, int(limit)) for sizes, limit in zip(chunks, max_tokens // longest, strict=True)]
    )
    while batches.sum() % world_size and (batches < rows).any():
        batches[(rows / batches).argmax()] += 1
    return batches


def _min_batches(chunks: np.ndarray, max_chunks: int) -> int:
    """Return the smallest number of batches so that dealing rows, most chunks first, exceeds `max_chunks` in no batch.

    A batch gets one row of each round, so the first row of each round is an upper bound. Rows that exceed `max_chunks`
    alone are a batch each.
    """
    rows = len(chunks)
    lower_bound = min(rows, -(-int(chunks.sum()) // max(max_chunks, 1)))
    counts = range(lower_bound, rows)
    return lower_bound + bisect_left(counts, True, key=lambda batches: chunks[::batches].sum() <= max_chunks)


def make_scoring_batches(
    sizes: RowSizes, batch_size: int, max_tokens: int | None = None, rank: int = 0, world_size: int = 1
) -> list[np.ndarray]:
    """Return this rank's share of all batches, int64. Over all ranks, the batches contain all rows, longest first.

    The batches do not depend on the number of ranks: each has at most `batch_size` rows, or at most `max_tokens`
    tokens, like those of `TrainingOrder`. Every rank has the same number of batches; the last one can be empty.
    """
    order = np.lexsort((-sizes.chunks, -sizes.longest))
    if max_tokens is None:
        count = -(-len(order) // batch_size)
        cuts = [i * len(order) // max(count, 1) for i in range(count + 1)]
    else:
        cuts = _cut_by_tokens(sizes.take(order), max_tokens)
    batches = [order[start:end] for start, end in pairwise(cuts)]
    batches += [order[:0]] * (-len(batches) % world_size)
    rounds = [batches[first : first + world_size] for first in range(0, len(batches), world_size)]
    return [dealt[rank if number % 2 else -1 - rank] for number, dealt in enumerate(rounds)]  # back and forth


def _cut_by_tokens(sizes: RowSizes, max_tokens: int) -> list[int]:
    """Return the borders of batches of at most `max_tokens` tokens, for rows ordered longest first."""
    chunks_before = compute_starts(sizes.chunks)
    cuts = [0]
    while cuts[-1] < len(sizes):
        max_chunks = chunks_before[cuts[-1]] + max_tokens // sizes.longest[cuts[-1]]
        cuts.append(max(int(np.searchsorted(chunks_before, max_chunks, side="right")) - 1, cuts[-1] + 1))
    return cuts
