"""From raw rows to encoded ones: fitted on the training split alone, saved as JSON, loaded anywhere without torch."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data import labels
from fusionzoo.data.data_settings import ChunkKeep, DataSettings
from fusionzoo.data.encoded import EncodedSplit, join
from fusionzoo.data.ragged import starts_of
from fusionzoo.data.reading.channel import Rows, as_text
from fusionzoo.data.row_digests import compute_row_digests
from fusionzoo.data.table import categories, numbers
from fusionzoo.data.text import cleaning, text_tokenizer
from fusionzoo.data.text.chunking import Chunker

PREPROCESSOR_FILE = "preprocessor.json"
TOKENIZER_FILE = "tokenizer.json"
FORMAT_VERSION = 2


@dataclass(frozen=True)
class TextPart:
    """The fitted text side. `vectors` [vocab_size, embedding_dim] exist at training only, for tokenizer `word`."""

    tokenizer: text_tokenizer.TextTokenizer
    max_tokens: int
    max_chunks: int | None
    chunk_keep: ChunkKeep = "head"
    embedding_dim: int | None = None
    vectors: np.ndarray | None = field(default=None, compare=False)

    @property
    def chunker(self) -> Chunker:
        """Cuts this tokenizer's tokens."""
        t = self.tokenizer
        return Chunker(self.max_tokens, self.max_chunks, t.prefix, t.suffix, t.empty_id, self.chunk_keep)


@dataclass(frozen=True)
class Preprocessor:
    """All that turns a raw row into numbers, and a class index back into a label."""

    settings: DataSettings
    text: TextPart | None
    categories: tuple[categories.CategoryEncoder, ...]
    numbers: tuple[numbers.NumberEncoder, ...]
    labels: labels.LabelMap

    def encode(self, source: Iterable[Rows], name: str, labelled: bool = True) -> EncodedSplit:
        """All rows of the split called `name`, in their order, in memory.

        Raises:
            errors.DataError: values that cannot be encoded, with the rows where they stand; all faults together.
        """
        return join(self.blocks(source, name, labelled))

    def blocks(self, source: Iterable[Rows], name: str, labelled: bool = True) -> Iterator[EncodedSplit]:
        """The split called `name` in blocks of rows, each with the starts and rows counted from its own beginning.

        Raises:
            errors.DataError: as `encode` does, after the last block: until then the blocks must not be relied on.
        """
        problems = errors.ProblemLog()
        memory = None if self.text is None else text_tokenizer.Memory(self.text.tokenizer)
        any_block = False
        for rows in kept(source, problems):
            with problems.kept():
                block = self._encode_table(rows, labelled)
            if self.text is not None and memory is not None:
                with problems.kept():
                    messages = row_messages(self.settings, rows)
                if not problems.problems:  # otherwise only the other faults are looked for
                    block = _with_text(block, messages, self.text.chunker, memory)
            if not problems.problems:
                any_block = True
                yield block
        problems.raise_if_any()
        if not any_block:
            raise errors.DataError([errors.no_rows(name)])

    def _encode_table(self, rows: Rows, labelled: bool) -> EncodedSplit:
        """A block of rows without its text."""
        problems = errors.ProblemLog()
        n = len(rows)
        ids, values, missing = [], [], []
        encoded_labels: np.ndarray | None = None
        for category in self.categories:
            with problems.kept():
                ids.append(category.encode(rows))
        for number in self.numbers:
            with problems.kept():
                value, flag = number.encode(rows)
                values.append(value)
                missing.append(flag)
        with problems.kept():
            encoded_labels = self.labels.encode(rows) if labelled else None
        with problems.kept():
            row_ids = ids_of(rows, self.settings.id_name)
        problems.raise_if_any()
        return EncodedSplit(
            tokens=np.zeros(0, np.int32),
            chunk_starts=np.zeros(1, np.int64),
            row_starts=np.zeros(n + 1, np.int64),
            categories=np.stack(ids, axis=1).astype(np.int32) if ids else np.zeros((n, 0), np.int32),
            numbers=np.stack(values, axis=1) if values else np.zeros((n, 0), np.float32),
            numbers_missing=np.stack(missing, axis=1) if missing else np.zeros((n, 0), bool),
            labels=encoded_labels,
            ids=row_ids,
            pad_id=0 if self.text is None else self.text.tokenizer.pad_id,
            dropped_tokens=0,
            empty_texts=0,
            digests=compute_row_digests(self.settings, rows, [*values, *missing]) if labelled else None,
        )

    def save(self, folder: Path) -> None:
        """Write `preprocessor.json` and, where there is text, `tokenizer.json`."""
        saved: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "settings": self.settings.model_dump(mode="json", include=set(DataSettings.model_fields)),
            "text": None,
            "categories": [{"name": c.name, "values": c.values} for c in self.categories],
            "numbers": [asdict(n) for n in self.numbers],
            "labels": {"name": self.labels.name, "classes": self.labels.classes},
        }
        if self.text is not None:
            t = self.text
            saved["text"] = {
                "tokenizer": t.tokenizer.name,
                "pad_id": t.tokenizer.pad_id,
                "max_tokens": t.max_tokens,
                "max_chunks": t.max_chunks,
                "chunk_keep": t.chunk_keep,
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
                tokenizer = text_tokenizer.restore_tokenizer(t["tokenizer"], saved_tokenizer, t["pad_id"])
            part = TextPart(tokenizer, t["max_tokens"], t["max_chunks"], t["chunk_keep"], t["embedding_dim"])
        return cls(
            settings=DataSettings(**saved["settings"]),
            text=part,
            categories=tuple(categories.CategoryEncoder(c["name"], tuple(c["values"])) for c in saved["categories"]),
            numbers=tuple(numbers.NumberEncoder.of(**n) for n in saved["numbers"]),
            labels=labels.LabelMap(saved["labels"]["name"], tuple(saved["labels"]["classes"])),
        )


def kept(source: Iterable[Rows], problems: errors.ProblemLog) -> Iterator[Rows]:
    """The blocks of `source`; what cannot be read is kept as a fault, to be reported with those of the values."""
    with problems.kept():
        yield from source


def row_messages(settings: DataSettings, rows: Rows) -> cleaning.Messages:
    """The cleaned messages of each row's text columns."""
    columns, problems = {}, errors.ProblemLog()
    for name in settings.text_columns:
        with problems.kept():
            columns[name] = cleaning.clean_messages(as_text(rows, name).to_pylist(), settings.text_processing_steps)
    problems.raise_if_any()
    return cleaning.join_columns(columns)


def ids_of(rows: Rows, name: str) -> pa.Array:
    """The ids as they came; null where there is no such column, as when a model serves.

    Raises:
        errors.DataError: the ids are nested values.
    """
    ids = rows.columns.get(name, pa.nulls(len(rows)))
    if pa.types.is_nested(ids.type):
        raise errors.DataError([errors.column_of_wrong_type(rows.source, name, str(ids.type), "text or plain values")])
    return ids


def _with_text(
    block: EncodedSplit, messages: cleaning.Messages, chunker: Chunker, tokenizer: text_tokenizer.Memory
) -> EncodedSplit:
    chunks = chunker.chunk(tokenizer.encode(messages.texts), messages.counts)
    return replace(
        block,
        tokens=chunks.tokens.values,
        chunk_starts=chunks.tokens.starts,
        row_starts=starts_of(chunks.counts),
        dropped_tokens=chunks.dropped,
        empty_texts=int((messages.counts == 0).sum()),
    )
