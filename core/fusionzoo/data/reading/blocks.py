"""Group rows into blocks of bounded size, so that memory does not grow with the number of rows or their length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
BLOCK_ROWS = 16_384  # maximum rows of a block
BLOCK_LENGTH = 16 * 2**20  # characters or bytes; the row that exceeds it is the last row of its block


def group_into_blocks(sized_rows: Iterable[tuple[int, T]]) -> Iterator[list[T]]:
    """Group rows, each given with its length, into blocks of at most `BLOCK_ROWS` rows, fewer if rows are long."""
    block: list[T] = []
    block_length = 0
    for length, row in sized_rows:
        block.append(row)
        block_length += length
        if len(block) == BLOCK_ROWS or block_length >= BLOCK_LENGTH:
            yield block
            block, block_length = [], 0
    if block:
        yield block
