"""Which rows stand together in a batch: little is padded, and the order is still random."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ragged import compute_starts, sum_segments

PIECES = 4  # of a batch: as many groups of chunks as an encoder makes at most
JITTER = 3  # pieces by which rows move at random among their neighbours by length, so that they meet others
FEWEST_STEPS = 4  # in a bucket; within one step alone, the same rows would meet in every epoch
MOST_BORDERS = 1000  # considered between buckets; choosing among them takes quadratic time
PRICE_OF_MEETING = 0.5  # in padding as a share of all tokens, of each share of pairs of rows that meets again


@dataclass(frozen=True)
class RowSizes:
    """What rows cost: a batch computes all chunks of its rows, each as long as the longest. Both are at least 1."""

    chunks: np.ndarray  # [rows] int64
    longest: np.ndarray  # [rows] int64, tokens of the row's longest chunk

    @classmethod
    def of(cls, split: EncodedSplit) -> Self:
        """The sizes of a split's rows; a row without text counts as one chunk of one token."""
        if not split.has_text:
            ones = np.ones(len(split), np.int64)
            return cls(ones, ones)
        longest = np.maximum.reduceat(np.diff(split.chunk_starts), split.row_starts[:-1])
        return cls(np.diff(split.row_starts), longest)

    def __len__(self) -> int:
        return len(self.chunks)

    @property
    def tokens(self) -> np.ndarray:
        """Tokens that each row computes alone [rows] int64, padding included."""
        tokens: np.ndarray = self.chunks * self.longest
        return tokens

    def take(self, rows: np.ndarray) -> RowSizes:
        """The sizes of these rows."""
        return RowSizes(self.chunks[rows], self.longest[rows])


class TrainingOrder:
    """The batches of each epoch on one of several ranks: every row once over all ranks, as (seed, epoch) decides.

    A batch mirrors the lengths of the whole split: it joins `PIECES` pieces of neighbours by length, one from each
    quarter of all rows, so that an encoder which runs chunks in groups of similar length pads little, and yet no batch
    is one of short rows or of long ones, which would make gradients noisy (`docs/data.md` has the figures). Every epoch
    has the same number of `steps` on every rank.

    `batch_size` is the most rows of a step, over all ranks: a step has the same rows on any number of them, who share
    it evenly, each with rows of all lengths. No two steps differ by more than one row. With `max_tokens`, `batch_size`
    does not count, and a rank's batch holds rows of similar length, so that the budget is used: chunks in a batch x its
    longest chunk stay within `max_tokens` per rank, but for rows that are longer alone, of which each is a batch:
    `beyond_budget` of them. The batches of one step are then neighbours by their tokens. Which rank gets which share is
    random. A rank's share is empty only in a step with fewer rows than ranks.

    Without `group_by_length`, the order is random. Memory: 24 bytes per row, and some 60 more while an epoch is drawn.

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
        self._plan: _Mirrored | _Bucketed
        if max_tokens is None:
            self.rows_over_budget = 0
            self._plan = _Mirrored(sizes.longest, batch_size, group_by_length)
        else:
            self.rows_over_budget = int((self._tokens > max_tokens).sum())
            self._plan = _Bucketed(sizes, max_tokens, seed, world_size, group_by_length)
        self.steps = self._plan.steps

    def batches(self, epoch: int) -> list[np.ndarray]:
        """This rank's rows of each step, int64; training goes on after step k with `batches(epoch)[k:]`."""
        rng = np.random.default_rng((self._seed, epoch))
        rows, starts = self._plan.draw(rng)
        alike = np.argsort(sum_segments(self._tokens[rows], starts), kind="stable")  # neighbours make a step
        chosen = rng.permutation(self.steps)
        ranks = (self._rank + rng.integers(self._world_size, size=self.steps)) % self._world_size
        if self._plan.per_rank:
            return [rows[starts[i] : starts[i + 1]] for i in alike[chosen * self._world_size + ranks]]
        steps = [rows[starts[i] : starts[i + 1]] for i in alike[chosen]]
        return [self._share(step, rank) for step, rank in zip(steps, ranks, strict=True)]

    def _share(self, rows: np.ndarray, rank: int) -> np.ndarray:
        """A rank's part of a step's rows: dealt by their tokens, to and fro, so that all have as much to do."""
        if self._world_size == 1:
            return rows
        to_and_fro = np.concatenate([np.arange(self._world_size), np.arange(self._world_size)[::-1]])
        dealt = np.resize(to_and_fro, len(rows))[np.argsort(np.argsort(-self._tokens[rows], kind="stable"))]
        share: np.ndarray = rows[dealt == rank]
        return share


class _Mirrored:
    """Batches by rows, for all ranks together, each of which mirrors the lengths of the split; or at random."""

    per_rank = False

    def __init__(self, longest: np.ndarray, batch_size: int, by_length: bool) -> None:
        self.steps = -(-len(longest) // batch_size)
        self._longest, self._by_length = longest, by_length
        self._counts = np.diff(np.arange(self.steps + 1) * len(longest) // self.steps)  # rows of each batch

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """All rows, batch after batch, within a batch shorter ones first, and where each batch begins."""
        rows = rng.permutation(len(self._longest))
        if self._by_length:
            rows = rows[np.argsort(self._longest[rows], kind="stable")]
            jitter = JITTER * max(1, self._counts.max() / PIECES)
            rows = rows[np.argsort(np.arange(len(rows)) + rng.random(len(rows)) * jitter, kind="stable")]
            batches = []
            for quarter in range(PIECES):
                pieces = (self._counts + quarter) // PIECES  # over the quarters, they add up to the counts
                order = rng.permutation(len(pieces))
                batches.append(np.repeat(order, pieces[order]))
            rows = rows[np.argsort(np.concatenate(batches), kind="stable")]
        return rows, compute_starts(self._counts)


class _Bucketed:
    """Batches within a budget of tokens: buckets of rows of similar length, dealt at random to the bucket's batches.

    A bucket's batches get about as many chunks each.
    """

    per_rank = True

    def __init__(self, sizes: RowSizes, max_tokens: int, seed: int, world_size: int, several: bool) -> None:
        by_length = np.random.default_rng(seed).permutation(len(sizes))  # ties in no particular order
        by_length = by_length[np.argsort(sizes.longest[by_length], kind="stable")]
        ordered = sizes.take(by_length)
        bucket, batches = _buckets_of_tokens(ordered, max_tokens, world_size, several)
        self.steps = -(-int(batches.sum()) // world_size)
        rows = np.bincount(bucket)
        rounds = -(-rows // batches)
        place = np.arange(len(sizes)) - np.repeat(compute_starts(rows)[:-1], rows)  # within the bucket
        batch = place % np.repeat(batches, rows) + np.repeat(compute_starts(batches)[:-1], rows)
        self._key = np.empty(len(sizes), np.int64)  # of each row: by bucket, most chunks first
        self._key[by_length] = (bucket + 1) * (sizes.chunks.max() + 1) - ordered.chunks
        self._round = place // np.repeat(batches, rows) + np.repeat(compute_starts(rounds)[:-1], rows)
        self._dealt = np.argsort(batch, kind="stable")
        self._starts = compute_starts(np.bincount(batch, minlength=self.steps * world_size))

    def draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """All rows, batch after batch, and where each batch begins."""
        rows = rng.permutation(len(self._key))
        rows = rows[np.argsort(self._key[rows], kind="stable")]
        rows = rows[np.argsort(self._round + rng.random(len(rows)), kind="stable")]  # each round of dealing at random
        return rows[self._dealt], self._starts


def make_scoring_batches(
    sizes: RowSizes, batch_size: int, max_tokens: int | None = None, rank: int = 0, world_size: int = 1
) -> list[np.ndarray]:
    """This rank's share of the batches, int64, that one rank alone has: all rows, longest first.

    The limits are those of `TrainingOrder`, but that a batch has at most `batch_size` rows on any number of ranks.
    Every rank has as many batches: the last of some are empty.
    """
    order = np.lexsort((-sizes.chunks, -sizes.longest))
    if max_tokens is None:
        count = -(-len(order) // batch_size)
        cuts = [i * len(order) // max(count, 1) for i in range(count + 1)]
    else:
        cuts = _cuts_within(sizes.take(order), max_tokens)
    batches = [order[begin:end] for begin, end in pairwise(cuts)]
    batches += [order[:0]] * (-len(batches) % world_size)
    rounds = [batches[first : first + world_size] for first in range(0, len(batches), world_size)]
    return [dealt[rank if number % 2 else -1 - rank] for number, dealt in enumerate(rounds)]  # to and fro


def _cuts_within(sizes: RowSizes, max_tokens: int) -> list[int]:
    """Where batches of rows, ordered longest first, begin and end."""
    before = compute_starts(sizes.chunks)
    cuts = [0]
    while cuts[-1] < len(sizes):
        room = before[cuts[-1]] + max_tokens // sizes.longest[cuts[-1]]
        cuts.append(max(int(np.searchsorted(before, room, side="right")) - 1, cuts[-1] + 1))
    return cuts


def _buckets_of_tokens(
    ordered: RowSizes, max_tokens: int, world_size: int, several: bool
) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of each row, ordered by length, and how many batches each bucket has; the last may be of lone rows."""
    alone = ordered.tokens > max_tokens
    bucket = np.zeros(len(ordered), np.int64)
    others = np.flatnonzero(~alone)
    if len(others):
        sizes = ordered.take(others)
        spent = np.cumsum(sizes.tokens)
        steps = -(-int(spent[-1]) // (max_tokens * world_size))
        parts = _most_buckets(steps) if several else 1
        inner = np.searchsorted(spent, np.arange(1, parts) / parts * spent[-1])
        borders = np.unique([0, *inner, len(others)])
        borders = borders[_cheapest(sizes, borders, steps)]
        bucket[others] = np.repeat(np.arange(len(borders) - 1), np.diff(borders))
        longest = sizes.longest[borders[1:] - 1]
        alone |= ordered.chunks * longest[bucket] > max_tokens  # short chunks, but many, among longer ones
    bucket[alone] = bucket.max() + 1
    _, bucket, rows = np.unique(bucket, return_inverse=True, return_counts=True)
    chunks = ordered.chunks[np.lexsort((-ordered.chunks, bucket))]
    longest = np.zeros(len(rows), np.int64)
    np.maximum.at(longest, bucket, ordered.longest)
    ends = np.cumsum(rows)
    batches = np.array(
        [_fewest(chunks[ends[b] - rows[b] : ends[b]], max_tokens // longest[b]) for b in range(len(rows))]
    )
    while batches.sum() % world_size and (batches < rows).any():
        batches[(rows / batches).argmax()] += 1
    return bucket, batches


def _most_buckets(steps: int) -> int:
    return min(max(steps // FEWEST_STEPS, 1), MOST_BORDERS)


def _cheapest(ordered: RowSizes, borders: np.ndarray, steps: int) -> np.ndarray:
    """Which of these borders between rows to use: least padding, with a price on each bucket.

    Of the pairs of rows that share a batch, buckets / steps meet again in the next epoch. Dynamic programming.
    """
    chunks = compute_starts(ordered.chunks)[borders]
    longest = ordered.longest[borders[1:] - 1]
    price = PRICE_OF_MEETING / steps * ordered.tokens.sum()
    cost = np.zeros(len(borders))
    previous = np.zeros(len(borders), np.int64)
    for end in range(1, len(borders)):
        costs = cost[:end] + (chunks[end] - chunks[:end]) * longest[end - 1] + price
        previous[end] = costs.argmin()
        cost[end] = costs[previous[end]]
    used = [len(borders) - 1]
    while used[-1]:
        used.append(int(previous[used[-1]]))
    return np.array(used[::-1])


def _fewest(chunks: np.ndarray, room: int) -> int:
    """To how many batches rows must be dealt, by falling number of chunks, so that none gets more than `room` chunks.

    A batch gets one row of each round, so at most the first of each. Where a row has more, each is a batch of its own.
    """
    rows = len(chunks)
    least = min(rows, -(-int(chunks.sum()) // max(room, 1)))
    return least + bisect_left(range(least, rows), True, key=lambda batches: chunks[::batches].sum() <= room)
