"""Divide the messages of rows into chunks of bounded length. No token is lost up to the maximum number of chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from fusionzoo.data.data_settings import ChunkKeep
from fusionzoo.data.ragged import Ragged, compute_starts, concatenate_ranges


@dataclass(frozen=True)
class Chunks:
    """The chunks of a block of rows, one row after the other."""

    tokens: Ragged  # one list per chunk, int32, special tokens included
    counts: np.ndarray  # [rows] int64, chunks of each row, at least one
    dropped: int  # tokens of text beyond the maximum number of chunks


@dataclass(frozen=True)
class Chunker:
    """Builds chunks. `prefix` and `suffix` are the special tokens around each chunk; all lengths include them.

    Raises:
        ValueError: the special tokens leave no room for text.
    """

    max_tokens: int
    max_chunks: int | None
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    empty_id: int  # the token of an empty text if there are no special tokens, so that each chunk has a token
    keep: ChunkKeep = "head"

    def __post_init__(self) -> None:
        if self.max_text_tokens < 1:
            raise ValueError(f"chunks of {self.max_tokens} tokens have no room for text")

    @property
    def max_text_tokens(self) -> int:
        """Tokens of text that fit in a chunk."""
        return self.max_tokens - len(self.prefix) - len(self.suffix)

    @property
    def empty_text(self) -> np.ndarray:
        """The tokens, [length] int32, of the single chunk of an empty text."""
        return self.chunk(Ragged(np.zeros(0, np.int32), np.zeros(1, np.int64)), np.zeros(1, np.int64)).tokens.values

    def chunk(self, messages: Ragged, counts: np.ndarray) -> Chunks:
        """Return the chunks of rows.

        A message that fits in a chunk is not divided. A longer one starts a new chunk and is divided.

        Args:
            messages: tokens of all messages, row after row.
            counts: [rows], the number of messages of each row.
        """
        first_message = compute_starts(counts)
        first_token = messages.starts[first_message]
        starts, lengths = first_token[:-1], np.diff(first_token)
        chunk_counts = np.ones(len(counts), np.int64)
        dropped = 0
        long_rows = np.flatnonzero(lengths > self.max_text_tokens)
        if len(long_rows):
            long_starts, long_lengths = [], []
            message_lengths = messages.lengths
            for row in long_rows:
                ranges = self.divide(message_lengths[first_message[row] : first_message[row + 1]].tolist())
                selection = self._keep_max_chunks(ranges)
                dropped += int(lengths[row]) - sum(end - start for start, end in selection)
                chunk_counts[row] = len(selection)
                long_starts += [int(starts[row]) + start for start, _ in selection]
                long_lengths += [end - start for start, end in selection]
            is_long = np.repeat(lengths > self.max_text_tokens, chunk_counts)
            starts, lengths = np.repeat(starts, chunk_counts), np.repeat(lengths, chunk_counts)
            starts[is_long], lengths[is_long] = long_starts, long_lengths
        return Chunks(self._add_special_tokens(messages.values, starts, lengths), chunk_counts, dropped)

    def divide(self, lengths: Sequence[int]) -> list[tuple[int, int]]:
        """Return the start and end of each chunk among the tokens of a row with messages of these lengths."""
        ends = [0]
        position = 0  # tokens so far; the open chunk starts at ends[-1]
        for length in lengths:
            if position > ends[-1] and position + length - ends[-1] > self.max_text_tokens:
                ends.append(position)
            position += length
            while position - ends[-1] > self.max_text_tokens:
                ends.append(ends[-1] + self.max_text_tokens)
        if position > ends[-1]:
            ends.append(position)
        return list(pairwise(ends))

    def _keep_max_chunks(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        if self.max_chunks is None or len(ranges) <= self.max_chunks:
            return ranges
        first = {"head": self.max_chunks, "tail": 0, "head_tail": -(-self.max_chunks // 2)}[self.keep]
        return ranges[:first] + ranges[len(ranges) - (self.max_chunks - first) :]

    def _add_special_tokens(self, tokens: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> Ragged:
        prefix_length, suffix_length = len(self.prefix), len(self.suffix)
        all_lengths = lengths + prefix_length + suffix_length
        if not prefix_length + suffix_length:
            all_lengths = np.maximum(all_lengths, 1)
        chunk_starts = compute_starts(all_lengths)
        values = np.full(chunk_starts[-1], self.empty_id, np.int32)
        text_positions = concatenate_ranges(chunk_starts[:-1] + prefix_length, lengths)
        values[text_positions] = tokens[concatenate_ranges(starts, lengths)]
        for i, token in enumerate(self.prefix):
            values[chunk_starts[:-1] + i] = token
        for i, token in enumerate(self.suffix):
            values[chunk_starts[1:] - suffix_length + i] = token
        return Ragged(values, chunk_starts)
