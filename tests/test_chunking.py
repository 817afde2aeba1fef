"""Chunks: up to the maximum number of chunks no token is lost, and order and limits are respected."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusionzoo.data.data_settings import ChunkKeep
from fusionzoo.data.ragged import Ragged, compute_starts, concatenate_ranges, sum_segments
from fusionzoo.data.text.chunking import Chunker
from shop import lists

SPECIAL = ((), ()), ((1,), (2,)), ((), (2,)), ((3, 1), (2, 4))
ROWS = st.lists(st.lists(st.lists(st.integers(5, 99), max_size=30), max_size=9), max_size=5)


def ragged(parts: list[list[int]]) -> Ragged:
    return Ragged(
        np.array([v for part in parts for v in part], np.int32), compute_starts([len(part) for part in parts])
    )


def chunk_rows(chunker: Chunker, rows: list[list[list[int]]]) -> tuple[list[list[list[int]]], int]:
    """Return the chunks of each row and the number of dropped tokens."""
    messages = [message for row in rows for message in row]
    chunks = chunker.chunk(ragged(messages), np.array([len(row) for row in rows], np.int64))
    flat = iter(lists(chunks.tokens))
    return [[next(flat) for _ in range(count)] for count in chunks.counts], chunks.dropped


@given(ROWS, st.integers(5, 12), st.none() | st.integers(1, 6), st.sampled_from(SPECIAL), st.sampled_from(["head"]))
def test_up_to_the_maximum_number_of_chunks_no_token_is_lost_or_repeated(
    rows: list[list[list[int]]], max_tokens: int, max_chunks: int | None, special: tuple, keep: ChunkKeep
) -> None:
    chunker = Chunker(max_tokens, max_chunks, *special, 0, keep)
    all_chunks, dropped = chunk_rows(chunker, rows)
    kept = 0
    for row, chunks in zip(rows, all_chunks, strict=True):
        tokens = [token for message in row for token in message]
        text = [token for chunk in chunks for token in chunk if token >= 5]
        kept += len(text)
        assert text == tokens[: len(text)]
        assert 1 <= len(chunks) <= (max_chunks or 10**9)
        assert all(1 <= len(chunk) <= max_tokens for chunk in chunks)
        prefix, suffix = special
        assert all(tuple(chunk[: len(prefix)]) == prefix for chunk in chunks)
        assert all(tuple(chunk[len(chunk) - len(suffix) :]) == suffix for chunk in chunks)
        assert max_chunks is not None or text == tokens
    assert kept + dropped == sum(len(message) for row in rows for message in row)


@given(ROWS, st.integers(4, 12), st.integers(1, 6), st.sampled_from(get_args(ChunkKeep)))
def test_the_kept_chunks_are_chunks_of_the_unlimited_row_in_their_order(
    rows: list[list[list[int]]], room: int, cap: int, keep: ChunkKeep
) -> None:
    unlimited, _ = chunk_rows(Chunker(room, None, (), (), 0), rows)
    limited, _ = chunk_rows(Chunker(room, cap, (), (), 0, keep), rows)
    for all_chunks, kept in zip(unlimited, limited, strict=True):
        first = {"head": cap, "tail": 0, "head_tail": (cap + 1) // 2}[keep]
        expected = (
            all_chunks if len(all_chunks) <= cap else all_chunks[:first] + all_chunks[len(all_chunks) - (cap - first) :]
        )
        assert kept == expected


@given(ROWS, st.integers(4, 12))
def test_a_message_that_fits_in_a_chunk_is_never_divided(rows: list[list[list[int]]], room: int) -> None:
    numbered = [[[i + 1] * len(message) for i, message in enumerate(row)] for row in rows]
    for row, chunks in zip(numbered, chunk_rows(Chunker(room, None, (), (), 0), numbered)[0], strict=True):
        for i, message in enumerate(row):
            if 0 < len(message) <= room:
                assert sum(i + 1 in chunk for chunk in chunks) == 1


@given(ROWS, st.integers(4, 12), st.none() | st.integers(1, 6), st.sampled_from(get_args(ChunkKeep)))
def test_a_row_has_the_same_chunks_alone_and_among_other_rows(
    rows: list[list[list[int]]], room: int, cap: int | None, keep: ChunkKeep
) -> None:
    chunker = Chunker(room, cap, (1,), (2,), 0, keep)
    together, dropped = chunk_rows(chunker, rows)
    alone = [chunk_rows(chunker, [row]) for row in rows]
    assert together == [chunks[0] for chunks, _ in alone]
    assert dropped == sum(number for _, number in alone)


def test_special_tokens_that_fill_a_chunk_are_an_error() -> None:
    with pytest.raises(ValueError, match="no room"):
        Chunker(4, None, (3, 1), (2, 4), 0)


def test_an_empty_text_is_one_chunk_with_a_token() -> None:
    assert chunk_rows(Chunker(8, 3, (1,), (2,), 0), [[], [[5]], [[]]]) == ([[[1, 2]], [[1, 5, 2]], [[1, 2]]], 0)
    assert chunk_rows(Chunker(8, 3, (), (), 7), [[[]], []]) == ([[[7]], [[7]]], 0)


def test_dropped_tokens_are_counted() -> None:
    row = [[[5, 6, 7], [8, 9], [10, 11, 12], [13]]]
    assert chunk_rows(Chunker(3, 2, (), (), 0, "head"), row) == ([[[5, 6, 7], [8, 9]]], 4)
    assert chunk_rows(Chunker(3, 2, (), (), 0, "tail"), row) == ([[[10, 11, 12], [13]]], 5)
    assert chunk_rows(Chunker(3, 3, (), (), 0, "head_tail"), row) == ([[[5, 6, 7], [8, 9], [13]]], 3)
    assert chunk_rows(Chunker(3, 1, (), (), 0, "head_tail"), row) == ([[[5, 6, 7]]], 6)


def count_executed_lines(function: Callable[[], object]) -> int:
    """Return how many lines of Python code a call executes, calls that it makes included."""
    count = 0

    def trace(*_: object) -> Any:
        nonlocal count
        count += 1
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(previous)
    return count


@pytest.mark.parametrize("keep", get_args(ChunkKeep))
def test_the_work_of_chunking_grows_linearly_with_the_length(keep: ChunkKeep) -> None:
    chunker = Chunker(8, None, (), (), 0, keep)
    lines = []
    for n in (1_000, 4_000):
        messages = ragged([[7] * n] + [[7]] * n)  # one long message and many short ones
        counts = np.array([n + 1])
        lines.append(count_executed_lines(lambda messages=messages, counts=counts: chunker.chunk(messages, counts)))
        chunks = chunker.chunk(messages, counts)
        assert (chunks.counts.tolist(), chunks.dropped) == ([n // 4], 0)
    assert lines[0] > 1_000
    assert lines[1] < 4.2 * lines[0]


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8))
def test_ragged_lists_keep_their_values(parts: list[list[int]]) -> None:
    values = ragged(parts)
    assert lists(values) == parts
    assert len(values) == len(parts)
    assert sum_segments(values.values, values.starts).tolist() == [sum(part) for part in parts]
    assert values.values[concatenate_ranges(values.starts[:-1], values.lengths)].tolist() == values.values.tolist()
