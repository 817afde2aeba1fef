"""Chunks: no token lost or doubled below the cap, order and limits kept, and what the cap keeps."""

from __future__ import annotations

from typing import get_args

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


def chunked(chunker: Chunker, rows: list[list[list[int]]]) -> tuple[list[list[list[int]]], int]:
    """The chunks of each row, and the number of tokens dropped."""
    messages = [message for row in rows for message in row]
    found = chunker.chunk(ragged(messages), np.array([len(row) for row in rows], np.int64))
    flat = iter(lists(found.tokens))
    return [[next(flat) for _ in range(count)] for count in found.counts], found.dropped


@given(ROWS, st.integers(5, 12), st.none() | st.integers(1, 6), st.sampled_from(SPECIAL), st.sampled_from(["head"]))
def test_no_token_is_lost_or_doubled_below_the_cap(
    rows: list[list[list[int]]], max_tokens: int, max_chunks: int | None, special: tuple, keep: ChunkKeep
) -> None:
    chunker = Chunker(max_tokens, max_chunks, *special, 0, keep)
    all_chunks, dropped = chunked(chunker, rows)
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
def test_the_cap_keeps_whole_chunks_of_the_uncapped_row_in_their_order(
    rows: list[list[list[int]]], room: int, cap: int, keep: ChunkKeep
) -> None:
    all_of_them, _ = chunked(Chunker(room, None, (), (), 0), rows)
    capped, _ = chunked(Chunker(room, cap, (), (), 0, keep), rows)
    for whole, kept in zip(all_of_them, capped, strict=True):
        first = {"head": cap, "tail": 0, "head_tail": (cap + 1) // 2}[keep]
        wanted = whole if len(whole) <= cap else whole[:first] + whole[len(whole) - (cap - first) :]
        assert kept == wanted


@given(ROWS, st.integers(4, 12))
def test_a_message_that_fits_a_chunk_is_never_split(rows: list[list[list[int]]], room: int) -> None:
    numbered = [[[i + 1] * len(message) for i, message in enumerate(row)] for row in rows]
    for row, chunks in zip(numbered, chunked(Chunker(room, None, (), (), 0), numbered)[0], strict=True):
        for i, message in enumerate(row):
            if 0 < len(message) <= room:
                assert sum(i + 1 in chunk for chunk in chunks) == 1


@given(ROWS, st.integers(4, 12), st.none() | st.integers(1, 6), st.sampled_from(get_args(ChunkKeep)))
def test_a_row_is_chunked_the_same_alone_and_among_others(
    rows: list[list[list[int]]], room: int, cap: int | None, keep: ChunkKeep
) -> None:
    chunker = Chunker(room, cap, (1,), (2,), 0, keep)
    together, dropped = chunked(chunker, rows)
    alone = [chunked(chunker, [row]) for row in rows]
    assert together == [chunks[0] for chunks, _ in alone]
    assert dropped == sum(number for _, number in alone)


def test_chunks_without_room_for_text_are_refused() -> None:
    with pytest.raises(ValueError, match="no room"):
        Chunker(4, None, (3, 1), (2, 4), 0)


def test_an_empty_text_is_one_chunk_with_a_token() -> None:
    assert chunked(Chunker(8, 3, (1,), (2,), 0), [[], [[5]], [[]]]) == ([[[1, 2]], [[1, 5, 2]], [[1, 2]]], 0)
    assert chunked(Chunker(8, 3, (), (), 7), [[[]], []]) == ([[[7]], [[7]]], 0)


def test_what_the_cap_dropped_is_counted() -> None:
    row = [[[5, 6, 7], [8, 9], [10, 11, 12], [13]]]
    assert chunked(Chunker(3, 2, (), (), 0, "head"), row) == ([[[5, 6, 7], [8, 9]]], 4)
    assert chunked(Chunker(3, 2, (), (), 0, "tail"), row) == ([[[10, 11, 12], [13]]], 5)
    assert chunked(Chunker(3, 3, (), (), 0, "head_tail"), row) == ([[[5, 6, 7], [8, 9], [13]]], 3)
    assert chunked(Chunker(3, 1, (), (), 0, "head_tail"), row) == ([[[5, 6, 7]]], 6)


@pytest.mark.parametrize("keep", get_args(ChunkKeep))
def test_chunking_takes_time_in_proportion_to_the_length(keep: ChunkKeep) -> None:
    messages = ragged([[7] * 1_000_000] + [[7]] * 1_000_000)
    found = Chunker(8, None, (), (), 0, keep).chunk(messages, np.array([1_000_001]))
    assert (found.counts.tolist(), found.dropped) == ([250_000], 0)


@given(st.lists(st.lists(st.integers(0, 9), max_size=5), max_size=8))
def test_ragged_lists_come_out_as_they_went_in(parts: list[list[int]]) -> None:
    made = ragged(parts)
    assert lists(made) == parts
    assert len(made) == len(parts)
    assert sum_segments(made.values, made.starts).tolist() == [sum(part) for part in parts]
    assert made.values[concatenate_ranges(made.starts[:-1], made.lengths)].tolist() == made.values.tolist()
