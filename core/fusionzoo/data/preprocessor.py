"""From raw rows to encoded ones: fitted on the training split alone, saved as JSON, loaded anywhere without torch."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data import categories, labels, numbers, text, tokenizing, vectors
from fusionzoo.data.chunking import Chunker
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.reading import Rows, as_text, plain_text
from fusionzoo.data.settings import DataSettings

PREPROCESSOR_FILE = "preprocessor.json"
TOKENIZER_FILE = "tokenizer.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class TextPart:
    """The fitted text side. `vectors` [vocab_size, embedding_dim] exist at training only, for tokenizer `word`."""

    tokenizer: tokenizing.TextTokenizer
    max_tokens: int
    max_chunks: int | None
    embedding_dim: int | None = None
    vectors: np.ndarray | None = field(default=None, compare=False)

    @property
    def chunker(self) -> Chunker:
        """Cuts this tokenizer's tokens."""
        t = self.tokenizer
        return Chunker(self.max_tokens, self.max_chunks, t.prefix, t.suffix, t.empty_id)


@dataclass(frozen=True)
class Preprocessor:
    """All that turns a raw row into numbers, and a class index back into a label."""

    settings: DataSettings
    text: TextPart | None
    categories: tuple[categories.CategoryEncoder, ...]
    numbers: tuple[numbers.NumberEncoder, ...]
    labels: labels.LabelMap

    def encode(self, source: Iterable[Rows], name: str, labelled: bool = True) -> EncodedSplit:
        """All rows of the split called `name`, in their order.

        Raises:
            errors.DataError: values that cannot be encoded, with the rows where they stand; all faults together.
        """
        faults = errors.FaultLog()
        blocks = []
        for rows in _kept(source, faults):
            with faults.kept():
                blocks.append(self._encode_block(rows, labelled))
        faults.raise_if_any()
        if not blocks:
            raise errors.DataError([errors.no_rows(name)])
        return _join(blocks)

    def _encode_block(self, rows: Rows, labelled: bool) -> EncodedSplit:
        faults = errors.FaultLog()
        n = len(rows)
        ids, values, missing = [], [], []
        encoded_labels: np.ndarray | None = None
        for category in self.categories:
            with faults.kept():
                ids.append(category.encode(rows))
        for number in self.numbers:
            with faults.kept():
                value, flag = number.encode(rows)
                values.append(value)
                missing.append(flag)
        with faults.kept():
            encoded_labels = self.labels.encode(rows) if labelled else None
        with faults.kept():
            messages = row_messages(self.settings, rows) if self.text is not None else []
        with faults.kept():
            row_ids = _ids(rows, self.settings.id_name)
        faults.raise_if_any()
        tokens, chunk_lengths, chunk_counts, dropped = self._encode_text(messages, n)
        return EncodedSplit(
            tokens=tokens,
            chunk_starts=_starts(chunk_lengths),
            row_starts=_starts(chunk_counts),
            categories=np.stack(ids, axis=1) if ids else np.zeros((n, 0), np.int64),
            numbers=np.stack(values, axis=1) if values else np.zeros((n, 0), np.float32),
            numbers_missing=np.stack(missing, axis=1) if missing else np.zeros((n, 0), bool),
            labels=encoded_labels,
            ids=row_ids,
            pad_id=0 if self.text is None else self.text.tokenizer.pad_id,
            dropped_tokens=dropped,
            empty_texts=sum(not row for row in messages),
        )

    def _encode_text(self, messages: list[list[str]], rows: int) -> tuple[np.ndarray, list[int], list[int], int]:
        if self.text is None:
            return np.zeros(0, np.int32), [], [0] * rows, 0
        encoded = iter(self.text.tokenizer.encode([message for row in messages for message in row]))
        chunker = self.text.chunker
        tokens: list[int] = []
        lengths: list[int] = []
        counts: list[int] = []
        all_dropped = 0
        for row in messages:
            chunks, dropped = chunker.chunks([next(encoded) for _ in row])
            tokens.extend(chain.from_iterable(chunks))
            lengths += [len(chunk) for chunk in chunks]
            counts.append(len(chunks))
            all_dropped += dropped
        return np.array(tokens, np.int32), lengths, counts, all_dropped

    def with_vectors(self, train: EncodedSplit, seed: int) -> Preprocessor:
        """This preprocessor with word vectors fitted on the encoded training split; itself for other tokenizers."""
        if self.text is None or self.text.tokenizer.name != tokenizing.WORD:
            return self
        table = vectors.word_vectors(self.settings, self.text.tokenizer, train, seed)
        return replace(self, text=replace(self.text, vectors=table, embedding_dim=table.shape[1]))

    def save(self, folder: Path) -> None:
        """Write `preprocessor.json` and, where there is text, `tokenizer.json`."""
        saved: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "settings": self.settings.model_dump(mode="json", include=set(DataSettings.model_fields)),
            "text": None,
            "categories": [{"name": c.name, "values": c.values} for c in self.categories],
            "numbers": [{"name": n.name, "mean": n.mean, "std": n.std, "edges": n.edges} for n in self.numbers],
            "labels": {"name": self.labels.name, "classes": self.labels.classes},
        }
        if self.text is not None:
            t = self.text
            saved["text"] = {
                "tokenizer": t.tokenizer.name,
                "pad_id": t.tokenizer.pad_id,
                "max_tokens": t.max_tokens,
                "max_chunks": t.max_chunks,
                "embedding_dim": t.embedding_dim,
            }
            (folder / TOKENIZER_FILE).write_text(t.tokenizer.backend.to_str(), encoding="utf-8")
        (folder / PREPROCESSOR_FILE).write_text(
            json.dumps(saved, indent=1, ensure_ascii=False, allow_nan=False), encoding="utf-8"
        )

    @classmethod
    def load(cls, folder: Path) -> Preprocessor:
        """The preprocessor that `save` wrote, from the folder alone.

        Raises:
            errors.ModelFolderError: a file is missing, damaged, or of another format version.
        """
        saved = errors.ModelFolderError.read_json(folder / PREPROCESSOR_FILE)
        if saved.get("format_version") != FORMAT_VERSION:
            raise errors.ModelFolderError.other_version(
                folder / PREPROCESSOR_FILE, saved.get("format_version"), FORMAT_VERSION
            )
        part = None
        if saved["text"] is not None:
            t = saved["text"]
            with errors.ModelFolderError.reading(folder / TOKENIZER_FILE):
                saved_tokenizer = (folder / TOKENIZER_FILE).read_text("utf-8")
                tokenizer = tokenizing.restore(t["tokenizer"], saved_tokenizer, t["pad_id"])
            part = TextPart(tokenizer, t["max_tokens"], t["max_chunks"], t["embedding_dim"])
        return cls(
            settings=DataSettings(**saved["settings"]),
            text=part,
            categories=tuple(categories.CategoryEncoder(c["name"], tuple(c["values"])) for c in saved["categories"]),
            numbers=tuple(
                numbers.NumberEncoder(n["name"], n["mean"], n["std"], tuple(n["edges"])) for n in saved["numbers"]
            ),
            labels=labels.LabelMap(saved["labels"]["name"], tuple(saved["labels"]["classes"])),
        )


def fit(settings: DataSettings, train: Iterable[Rows]) -> tuple[Preprocessor, int]:
    """The preprocessor that the training split, and nothing else, decides; and the split's number of rows.

    Raises:
        errors.DataError: labels, numbers or texts that cannot be used; all faults together.
        errors.TokenizerError, errors.EmbeddingsError: the tokenizer or its vectors are not to be had; no row is read.
    """
    tokenizer = _tokenizer(settings)
    counts = {name: Counter[str]() for name in settings.cat_field_list}
    values: dict[str, list[np.ndarray]] = {name: [] for name in settings.tab_field_list}
    words = tokenizing.WordCounter() if settings.text_columns and tokenizer is None else None
    label_counts = labels.LabelCounts(settings.label_name)
    rows_read, faults = 0, errors.FaultLog()
    for rows in _kept(train, faults):
        rows_read += len(rows)
        with faults.kept():
            label_counts.add(rows)
        for name, counter in counts.items():
            with faults.kept():
                categories.count(counter, rows, name)
        for name, blocks in values.items():
            with faults.kept():
                blocks.append(numbers.as_numbers(rows, name))
        if words is not None:
            with faults.kept():
                words.add(chain.from_iterable(row_messages(settings, rows)))
    faults.raise_if_any()
    if not rows_read:
        raise errors.DataError([errors.no_rows("train")])
    with faults.kept():
        label_map = label_counts.fit(settings)
    with faults.kept():
        text_part = _fit_text(settings, tokenizer, words)
    faults.raise_if_any()
    return Preprocessor(
        settings,
        text_part,
        tuple(categories.fit(name, counter, settings.min_category_count) for name, counter in counts.items()),
        tuple(numbers.fit(name, blocks) for name, blocks in values.items()),
        label_map,
    ), rows_read


def _kept(source: Iterable[Rows], faults: errors.FaultLog) -> Iterator[Rows]:
    """The blocks of `source`; what cannot be read is kept as a fault, to be reported with those of the values."""
    with faults.kept():
        yield from source


def _tokenizer(settings: DataSettings) -> tokenizing.TextTokenizer | None:
    """The pretrained tokenizer; None without text, or where words are to be fitted, whose vectors are looked for."""
    if not settings.text_columns:
        return None
    if settings.tokenizer == tokenizing.WORD:
        vectors.check_source(settings)
        return None
    return tokenizing.pretrained(settings.tokenizer)


def _fit_text(
    settings: DataSettings, tokenizer: tokenizing.TextTokenizer | None, words: tokenizing.WordCounter | None
) -> TextPart | None:
    if tokenizer is not None:
        return TextPart(tokenizer, settings.max_sen_len, settings.max_total_chunks)
    if words is None:
        return None
    if not words.counts:
        raise errors.DataError([errors.no_text(settings.text_columns)])
    fitted = words.fit(settings.word_vocab_size, settings.word_min_count)
    return TextPart(fitted, settings.max_sen_len, settings.max_total_chunks, settings.embedding_dim)


def row_messages(settings: DataSettings, rows: Rows) -> list[list[str]]:
    """The cleaned messages of each row's text columns."""
    columns, faults = {}, errors.FaultLog()
    for name in settings.text_columns:
        with faults.kept():
            columns[name] = text.messages(as_text(rows, name).to_pylist(), settings.text_processing_steps)
    faults.raise_if_any()
    return text.join_columns(columns)


def _ids(rows: Rows, name: str) -> pa.Array:
    """The ids as they came; null where there is no such column, as when a model serves.

    Raises:
        errors.DataError: the ids are nested values.
    """
    ids = rows.columns.get(name, pa.nulls(len(rows)))
    if pa.types.is_nested(ids.type):
        raise errors.DataError([errors.column_of_wrong_type(rows.source, name, str(ids.type), "text or plain values")])
    return ids


def _join(blocks: Sequence[EncodedSplit]) -> EncodedSplit:
    """One split of many blocks."""
    return EncodedSplit(
        tokens=np.concatenate([b.tokens for b in blocks]),
        chunk_starts=_join_starts([b.chunk_starts for b in blocks]),
        row_starts=_join_starts([b.row_starts for b in blocks]),
        categories=np.concatenate([b.categories for b in blocks]),
        numbers=np.concatenate([b.numbers for b in blocks]),
        numbers_missing=np.concatenate([b.numbers_missing for b in blocks]),
        labels=None if blocks[0].labels is None else np.concatenate([b.labels for b in blocks if b.labels is not None]),
        ids=_join_ids([b.ids for b in blocks]),
        pad_id=blocks[0].pad_id,
        dropped_tokens=sum(b.dropped_tokens for b in blocks),
        empty_texts=sum(b.empty_texts for b in blocks),
    )


def _starts(lengths: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def _join_starts(parts: Sequence[np.ndarray]) -> np.ndarray:
    offsets = np.cumsum([0, *(part[-1] for part in parts)])
    return np.concatenate([[0], *(part[1:] + offset for part, offset in zip(parts, offsets, strict=False))])


def _join_ids(parts: Sequence[pa.Array]) -> pa.Array:
    """Ids in the type that all blocks can share without loss; text where they cannot."""
    kinds = {part.type for part in parts} - {pa.null()}
    if len(kinds) <= 1:
        kind = next(iter(kinds), pa.null())
    elif all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in kinds):
        kind = pa.int64()
    else:
        kind, parts = pa.string(), [plain_text(part) for part in parts]
    return pa.concat_arrays([part.cast(kind) for part in parts])
