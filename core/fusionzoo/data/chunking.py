"""Cut a row's messages into chunks of at most so many tokens; no token is lost below the cap on chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Chunker:
    """How chunks are built: `prefix` and `suffix` are the special tokens around each; all counts include them."""

    max_tokens: int
    max_chunks: int | None
    prefix: tuple[int, ...]
    suffix: tuple[int, ...]
    empty: int  # stands for an empty text where there are no special tokens, so that each chunk has a token

    @property
    def room(self) -> int:
        """Tokens of text that a chunk can hold."""
        return self.max_tokens - len(self.prefix) - len(self.suffix)

    def chunks(self, messages: Sequence[Sequence[int]]) -> tuple[list[list[int]], int]:
        """The chunks of one row, at least one, and how many tokens of text the cap dropped.

        Messages stay whole where they fit a chunk; a longer one begins a chunk of its own and is split.
        """
        pieces = _pack(messages, self.room)
        kept = pieces if self.max_chunks is None else pieces[: self.max_chunks]
        dropped = sum(map(len, pieces[len(kept) :]))
        if not kept:
            return [[*self.prefix, *self.suffix] or [self.empty]], dropped
        return [[*self.prefix, *piece, *self.suffix] for piece in kept], dropped


def _pack(messages: Sequence[Sequence[int]], room: int) -> list[list[int]]:
    packed: list[list[int]] = []
    current: list[int] = []
    for message in messages:
        if current and len(current) + len(message) > room:
            packed.append(current)
            current = []
        current.extend(message)
        if len(current) > room:
            cut = len(current) - (len(current) % room or room)
            packed += [current[start : start + room] for start in range(0, cut, room)]
            current = current[cut:]
    return [*packed, current] if current else packed
