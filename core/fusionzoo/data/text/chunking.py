"""Cut rows' messages into chunks of at most so many tokens; no token is lost below the cap on chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fusionzoo.data.data_settings import ChunkKeep
from fusionzoo.data.ragged import Ragged, concatenated_ranges, starts_of


@dataclass(frozen=True)
class Chunks:
    """The chunks of a block of rows, one row after the other."""

    tokens: Ragged  # one list per chunk, special tokens included; int32
    counts: np.ndarray  # [rows] int64: chunks of each row, at least one
    dropped: int  # tokens of text that the cap dropped


@dataclass(frozen=True)
class Chunker:
    """How chunks are built: `prefix` and `suffix` are the special tokens around each; all counts include them.

    Raises:
        ValueError: the special tokens leave no room for text.
    """

    max_tokens: int
    max_chunks: int | None
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    empty: int  # stands for an empty text where there are no special tokens, so that each chunk has a token
    keep: ChunkKeep = "head"

    def __post_init__(self) -> None:
        if self.room < 1:
            raise ValueError(f"chunks of {self.max_tokens} tokens have no room for text")

    @property
    def room(self) -> int:
        """Tokens of text that a chunk can hold."""
        return self.max_tokens - len(self.prefix) - len(self.suffix)

    @property
    def empty_text(self) -> np.ndarray:
        """The tokens [length] int32 of the one chunk of an empty text."""
        return self.chunk(Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64)), np.zeros(1, np.int64)).tokens.values

    def chunk(self, messages: Ragged, counts: np.ndarray) -> Chunks:
        """The chunks of rows.

        Messages stay whole where they fit a chunk; a longer one begins a chunk of its own and is split.

        Args:
            messages: tokens of every message, row after row.
            counts: [rows], how many of the messages are each row's.
        """
        first_message = starts_of(counts)
        first_token = messages.starts[first_message]
        starts, lengths = first_token[:-1], np.diff(first_token)
        pieces = np.ones(len(counts), np.int64)
        dropped = 0
        long = np.flatnonzero(lengths > self.room)
        if len(long):
            kept_starts, kept_lengths = [], []
            message_lengths = messages.lengths
            for row in long:
                cuts = self.cut(message_lengths[first_message[row] : first_message[row + 1]].tolist())
                kept = self._kept(cuts)
                dropped += int(lengths[row]) - sum(end - begin for begin, end in kept)
                pieces[row] = len(kept)
                kept_starts += [int(starts[row]) + begin for begin, _ in kept]
                kept_lengths += [end - begin for begin, end in kept]
            is_long = np.repeat(lengths > self.room, pieces)
            starts, lengths = np.repeat(starts, pieces), np.repeat(lengths, pieces)
            starts[is_long], lengths[is_long] = kept_starts, kept_lengths
        return Chunks(self._with_special(messages.values, starts, lengths), pieces, dropped)

    def cut(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Where a row with messages of these lengths is cut: begin and end of each chunk in the row's tokens."""
        ends = [0]
        at = 0  # tokens so far; the open chunk begins at ends[-1]
        for length in lengths:
            if at > ends[-1] and at + length - ends[-1] > self.room:
                ends.append(at)
            at += length
            while at - ends[-1] > self.room:
                ends.append(ends[-1] + self.room)
        if at > ends[-1]:
            ends.append(at)
        return list(pairwise(ends))

    def _kept(self, cuts: list[tuple[int, int]]) -> list[tuple[int, int]]:
        if self.max_chunks is None or len(cuts) <= self.max_chunks:
            return cuts
        first = {"head": self.max_chunks, "tail": 0, "head_tail": -(-self.max_chunks // 2)}[self.keep]
        return cuts[:first] + cuts[len(cuts) - (self.max_chunks - first) :]

    def _with_special(self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
        before, after = len(self.prefix), len(self.suffix)
        all_lengths = lengths + before + after
        if not before + after:
            all_lengths = np.maximum(all_lengths, 1)
        placed = starts_of(all_lengths)
        values = np.full(placed[-1], self.empty, np.int32)
        values[concatenated_ranges(placed[:-1] + before, lengths)] = tokens[concatenated_ranges(starts, lengths)]
        for i, token in enumerate(self.prefix):
            values[placed[:-1] + i] = token
        for i, token in enumerate(self.suffix):
            values[placed[1:] - after + i] = token
        return Ragged(values, placed)
