"""Generate rows from an `InputSpec` and a seed, and encode them as a job does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.random import Generator

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch, CategoryField, InputSpec, NumberField, TextSpec
from fusionzoo.settings import Modality

VOCAB_SIZE, PAD_ID, MAX_TOKENS, MAX_CHUNKS, EMBEDDING_DIM = 50, 1, 12, 4, 16
NUM_OUTPUTS = 3
ADDED_PADDING = 3
MISSING, UNKNOWN, FIRST_VALUE = 0, 1, 2  # category ids
CARDINALITY = 9  # of the category with the most values
WORD_TOKENIZER, SUBWORD_TOKENIZER = "word", "bert-base-uncased"  # with word vectors, and without


@dataclass(frozen=True)
class Sizes:
    """The sizes of a spec.

    They are words, tokens of a chunk, chunks of a row, ids of the category 'country', fields of each kind to add, and
    outputs.
    """

    vocab_size: int = VOCAB_SIZE
    max_tokens: int = MAX_TOKENS
    max_chunks: int = MAX_CHUNKS
    cardinality: int = CARDINALITY
    added_fields: int = 0
    num_outputs: int = NUM_OUTPUTS


SMALL_SIZES = Sizes()


def make_spec(reads: Collection[Modality], tokenizer: str = WORD_TOKENIZER, sizes: Sizes = SMALL_SIZES) -> InputSpec:
    """Return a spec with, if the model reads them, text, two categories and three numbers, and by default 3 outputs."""
    has_vectors, vocab_size = tokenizer == WORD_TOKENIZER, sizes.vocab_size
    embeddings = (
        torch.randn(vocab_size, EMBEDDING_DIM, generator=torch.Generator().manual_seed(0)) if has_vectors else None
    )
    dim = EMBEDDING_DIM if has_vectors else None
    text = TextSpec(vocab_size, PAD_ID, sizes.max_tokens, sizes.max_chunks, tokenizer, dim, embeddings)
    table, added = "table" in reads, range(sizes.added_fields)
    return InputSpec(
        text=text if "text" in reads else None,
        categories=(
            CategoryField("color", 5),
            CategoryField("country", sizes.cardinality),
            *(CategoryField(f"category_{i}", 4) for i in added),
        )
        if table
        else (),
        numbers=(
            NumberField("price", 20.0, 5.0, (-2.0, -1.0, -0.3, 0.2, 0.9, 2.0)),
            NumberField("is_new", 0.5, 0.5, (-1.0, 1.0)),
            NumberField("weight", 1.0, 0.1, (-1.5, -0.5, 0.0, 0.5, 3.0)),
            *(NumberField(f"number_{i}", 0.0, 1.0, (-1.0, 0.0, 1.0)) for i in added),
        )
        if table
        else (),
        num_outputs=sizes.num_outputs,
    )


@dataclass(frozen=True)
class Row:
    """One encoded row: token ids per chunk, category ids, numbers (0 where missing), missing flags, and a label."""

    chunks: tuple[np.ndarray, ...]
    categories: np.ndarray
    numbers: np.ndarray
    missing: np.ndarray
    label: int


def make_rows(spec: InputSpec, count: int, seed: int) -> list[Row]:
    """Return rows of every kind: one to `MAX_CHUNKS` chunks of at least two tokens, some values missing or unknown."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(count) % spec.num_outputs)
    rows = [_row(spec, rng, 1 + i % MAX_CHUNKS, int(label)) for i, label in enumerate(labels)]
    return [_with_missing(row, i, rng) for i, row in enumerate(rows)]


def make_short_rows(spec: InputSpec, count: int, seed: int) -> list[Row]:
    """Return rows as `make_rows` does, with chunks that leave room for `ADDED_PADDING` columns of padding."""
    if spec.text is None:
        return make_rows(spec, count, seed)
    text = replace(spec.text, max_tokens=spec.text.max_tokens - ADDED_PADDING)  # no job has longer chunks
    return make_rows(replace(spec, text=text), count, seed)


def make_plain_rows(spec: InputSpec, count: int, seed: int) -> list[Row]:
    """Return rows with one chunk, no missing or unknown values, and the first class."""
    rng = np.random.default_rng(seed)
    return [_row(spec, rng, 1, 0) for _ in range(count)]


def _row(spec: InputSpec, rng: Generator, chunks: int, label: int) -> Row:
    return Row(
        chunks=() if spec.text is None else _make_chunks(spec.text, rng, chunks),
        categories=np.array([_draw_category(c, rng) for c in spec.categories], np.int64),
        numbers=rng.normal(size=len(spec.numbers)).astype(np.float32),
        missing=np.zeros(len(spec.numbers), bool),
        label=label,
    )


def _draw_category(category: CategoryField, rng: Generator) -> int:
    """Return a random value of a category; UNKNOWN if it has no values."""
    return int(rng.integers(FIRST_VALUE, category.cardinality)) if category.cardinality > FIRST_VALUE else UNKNOWN


def _make_chunks(text: TextSpec, rng: Generator, count: int) -> tuple[np.ndarray, ...]:
    lengths = rng.integers(2, text.max_tokens + 1, count)
    return tuple(make_tokens(rng, int(length), text.vocab_size) for length in lengths)


def _with_missing(row: Row, position: int, rng: Generator) -> Row:
    """Make a number missing in every third row, and a category MISSING or UNKNOWN in every fourth."""
    categories, missing = row.categories.copy(), row.missing.copy()
    if len(missing) and position % 3 == 1:
        missing[rng.integers(len(missing))] = True
    if len(categories) and position % 4 == 2:
        categories[rng.integers(len(categories))] = (MISSING, UNKNOWN)[position // 4 % 2]
    numbers = np.where(missing, np.float32(0), row.numbers)
    return replace(row, categories=categories, missing=missing, numbers=numbers)


def with_highest_ids(spec: InputSpec, row: Row) -> Row:
    """Return the row with the highest id of each category, and a first chunk of full length with the highest ids."""
    chunks = row.chunks
    if spec.text is not None:
        below_highest = np.arange(spec.text.max_tokens, dtype=np.int32) % (spec.text.vocab_size - PAD_ID - 1)
        chunks = (spec.text.vocab_size - 1 - below_highest, *row.chunks[1:])
    return replace(row, chunks=chunks, categories=np.array([c.cardinality - 1 for c in spec.categories], np.int64))


def with_all_chunks(spec: InputSpec, row: Row) -> Row:
    """Return the row with `max_chunks` chunks; those that are added have one token."""
    if spec.text is None or spec.text.max_chunks is None:
        return row
    added = (row.chunks[0][:1],) * (spec.text.max_chunks - len(row.chunks))
    return replace(row, chunks=(*row.chunks, *added))


def make_tokens(rng: Generator, length: int, vocab_size: int) -> np.ndarray:
    """Return token ids [length] int32 without the padding id."""
    ids = rng.integers(0, vocab_size - 1, length)
    without_pad: np.ndarray = (ids + (ids >= PAD_ID)).astype(np.int32)
    return without_pad


def replace_tokens(tokens: np.ndarray) -> np.ndarray:
    """Replace each token by another real token."""
    ids = (tokens.astype(np.int64) + 1) % VOCAB_SIZE
    changed: np.ndarray = np.where(ids == PAD_ID, ids + 1, ids).astype(np.int32)
    return changed


def encode_rows(spec: InputSpec, rows: Sequence[Row]) -> EncodedSplit:
    """Encode rows as a split of a job."""
    chunks = [chunk for row in rows for chunk in row.chunks]
    return EncodedSplit(
        tokens=np.concatenate([np.zeros(0, np.int32), *chunks]),
        chunk_starts=_starts([len(chunk) for chunk in chunks]),
        row_starts=_starts([len(row.chunks) for row in rows]),
        categories=_table([row.categories for row in rows], len(spec.categories), np.int64),
        numbers=_table([row.numbers for row in rows], len(spec.numbers), np.float32),
        numbers_missing=_table([row.missing for row in rows], len(spec.numbers), np.bool_),
        labels=np.array([row.label for row in rows], np.int64),
        ids=pa.array([f"row-{i}" for i in range(len(rows))]),
        pad_id=0 if spec.text is None else spec.text.pad_id,
        dropped_tokens=0,
        empty_texts=0,
    )


def make_batch(spec: InputSpec, rows: Sequence[Row]) -> Batch:
    """Return all rows as one batch, in their order."""
    return Batch.from_arrays(encode_rows(spec, rows).batch(np.arange(len(rows))))


def _starts(lengths: Sequence[int]) -> np.ndarray:
    starts: np.ndarray = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    return starts


def _table(values: Sequence[np.ndarray], fields: int, kind: type[np.generic]) -> np.ndarray:
    return np.array(values, kind).reshape(len(values), fields)
