"""The preprocessor: turns raw rows into encoded ones. Fitted on train, saved as JSON, loaded without torch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.data_settings import ChunkKeep, DataSettings
from fusionzoo.data.encoded import EncodedSplit, concatenate_splits
from fusionzoo.data.ids import can_be_written
from fusionzoo.data.model_files import model_file_errors, parse_json_object
from fusionzoo.data.null_words import NullWords
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.ragged import compute_starts
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import wrong_type
from fusionzoo.data.row_digests import compute_row_digests
from fusionzoo.data.table import categories, numbers
from fusionzoo.data.targets.score_rules import NO_RULES, ScoreRules, restore_score_rules
from fusionzoo.data.targets.target import SPLITS_WITH_OPTIONAL_LABELS, Target
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.data.text import cleaning, text_tokenizer
from fusionzoo.data.text.chunking import Chunker

PREPROCESSOR_FILE = "preprocessor.json"
TOKENIZER_FILE = "tokenizer.json"
FORMAT_VERSION = 4


@dataclass(frozen=True)
class TextPreprocessor:
    """The fitted text side.

    `vectors` [vocab_size, embedding_dim] exist only in training and only for tokenizer `word`.
    """

    tokenizer: text_tokenizer.TextTokenizer
    max_tokens: int
    max_chunks: int | None
    chunk_keep: ChunkKeep = "head"
    embedding_dim: int | None = None
    vectors: np.ndarray | None = field(default=None, compare=False)

    @property
    def chunker(self) -> Chunker:
        """The chunker for the tokens of this tokenizer."""
        t = self.tokenizer
        return Chunker(self.max_tokens, self.max_chunks, t.prefix, t.suffix, t.empty_id, self.chunk_keep)


@dataclass(frozen=True)
class Preprocessor:
    """All that turns a raw row into arrays, and an encoded label back into its values."""

    settings: DataSettings
    text: TextPreprocessor | None
    categories: tuple[categories.CategoryEncoder, ...]
    numbers: tuple[numbers.NumberEncoder, ...]
    target: Target
    rules: ScoreRules = NO_RULES  # fitted on val after the training

    @cached_property
    def null_words(self) -> NullWords:
        """The words that mean a missing value."""
        return NullWords.of(self.settings)

    @property
    def max_tokens(self) -> int | None:
        """The maximum number of tokens of a chunk; None without text."""
        return None if self.text is None else self.text.max_tokens

    def encode(self, source: Iterable[Rows], name: str, labeled: bool = True) -> EncodedSplit:
        """Return all rows of the split called `name`, in their order, in memory.

        Raises:
            errors.DataError: values that cannot be encoded, with their rows; all problems together.
        """
        return concatenate_splits(self.encode_blocks(source, name, labeled))

    def encode_blocks(self, source: Iterable[Rows], name: str, labeled: bool = True) -> Iterator[EncodedSplit]:
        """Yield the split called `name` in blocks. Starts and rows are counted from the beginning of each block.

        Raises:
            errors.DataError: like `encode`, but after the last block. The blocks are valid only if nothing is raised.
        """
        problems = ProblemLog()
        tokenizer = None if self.text is None else text_tokenizer.CachedTokenizer(self.text.tokenizer)
        has_blocks = False
        for rows in _log_read_problems(source, problems):
            problems.count_rows(rows)
            features = self.null_words.replace(rows)
            with problems.collect():
                optional_labels = name in SPLITS_WITH_OPTIONAL_LABELS
                block = self._encode_table(rows, features, labeled, optional_labels)
            if self.text is not None and tokenizer is not None:
                with problems.collect():
                    messages = clean_row_messages(self.settings, features)
                if not problems.problems:  # otherwise only look for further problems
                    block = _add_text(block, messages, self.text.chunker, tokenizer)
            if not problems.problems:
                has_blocks = True
                yield block
        problems.raise_if_any()
        if not has_blocks:
            raise errors.DataError([errors.channel_without_rows(name)])

    def encode_unlabeled(
        self, rows: Rows, tokenizer: text_tokenizer.TextTokenizer | text_tokenizer.CachedTokenizer | None
    ) -> EncodedSplit:
        """Return one block of rows without labels and ids, which may also have no rows.

        Args:
            rows: a block with the feature columns of the settings.
            tokenizer: the tokenizer of `text`, or one with a cache; None without text.

        Raises:
            errors.DataError: values that cannot be encoded, with their rows; all problems of the block together.
        """
        problems = ProblemLog()
        features = self.null_words.replace(rows)
        with problems.collect():
            block = self._encode_table(rows, features, labeled=False, with_ids=False)
        if self.text is not None:
            with problems.collect():
                messages = clean_row_messages(self.settings, features)
        problems.raise_if_any()
        if self.text is None or tokenizer is None:
            return block
        return _add_text(block, messages, self.text.chunker, tokenizer)

    def _encode_table(
        self, rows: Rows, features: Rows, labeled: bool, optional_labels: bool = False, with_ids: bool = True
    ) -> EncodedSplit:
        """Return a block of rows without their text. `features` are the rows without words for null."""
        problems = ProblemLog()
        n = len(rows)
        ids, values, missing = [], [], []
        encoded_labels: np.ndarray | None = None
        for category in self.categories:
            with problems.collect():
                ids.append(category.encode(features))
        for number in self.numbers:
            with problems.collect():
                standardized, is_missing = number.encode(features)
                values.append(standardized)
                missing.append(is_missing)
        with problems.collect():
            encoded_labels = self.target.encode(rows, optional_labels) if labeled else None
        with problems.collect():
            row_ids = get_ids(rows, self.settings.id_name) if with_ids else pa.nulls(n)
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
            digests=compute_row_digests(self.settings, features, [*values, *missing]) if labeled else None,
        )

    def save(self, folder: Path) -> None:
        """Write `preprocessor.json` and, if there is text, `tokenizer.json`."""
        saved: dict[str, Any] = {
            "format_version": FORMAT_VERSION,
            "settings": self.settings.model_dump(mode="json", include=set(DataSettings.model_fields)),
            "text": None,
            "categories": [{"name": c.name, "values": c.values} for c in self.categories],
            "numbers": [asdict(n) for n in self.numbers],
            "labels": self.target.as_json(),
            "rules": self.rules.as_json(),
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
        """Load the preprocessor that `save` wrote. Needs only the folder.

        Raises:
            errors.ModelFolderError: a file is missing or damaged, or has another format version.
        """

        def read(name: str) -> bytes:
            with model_file_errors(folder / name):
                return (folder / name).read_bytes()

        return cls.restore(folder, read)

    @classmethod
    def restore(cls, folder: Path, read: Callable[[str], bytes]) -> Preprocessor:
        """Return the preprocessor that `save` wrote, from the bytes that `read` returns for the name of a file.

        Args:
            folder: names the files in messages.
            read: for example `fusionzoo.artifacts.verified_folder.VerifiedFolder.read`.

        Raises:
            errors.ModelFolderError: a file is damaged, or has another format version.
        """
        saved = parse_json_object(read(PREPROCESSOR_FILE), folder / PREPROCESSOR_FILE)
        if saved.get("format_version") != FORMAT_VERSION:
            raise errors.ModelFolderError.other_version(
                folder / PREPROCESSOR_FILE, saved.get("format_version"), FORMAT_VERSION
            )
        with model_file_errors(folder / PREPROCESSOR_FILE):
            settings = DataSettings(**saved["settings"])
            return cls(
                settings=settings,
                text=_restore_text(folder, saved["text"], read),
                categories=tuple(
                    categories.CategoryEncoder(c["name"], tuple(c["values"])) for c in saved["categories"]
                ),
                numbers=tuple(numbers.NumberEncoder.of(**n) for n in saved["numbers"]),
                target=choose_target(settings).restore(saved["labels"]),
                rules=restore_score_rules(saved["rules"]),
            )


def _restore_text(
    folder: Path, saved: Mapping[str, Any] | None, read: Callable[[str], bytes]
) -> TextPreprocessor | None:
    """Return the text side that `Preprocessor.save` wrote; None if the model reads no text."""
    if saved is None:
        return None
    name, pad_id = saved["tokenizer"], saved["pad_id"]
    limits = saved["max_tokens"], saved["max_chunks"], saved["chunk_keep"]
    with model_file_errors(folder / TOKENIZER_FILE):
        saved_tokenizer = read(TOKENIZER_FILE).decode("utf-8")
        tokenizer = text_tokenizer.restore_tokenizer(name, saved_tokenizer, pad_id)
    return TextPreprocessor(tokenizer, *limits, saved["embedding_dim"])


def clean_row_messages(settings: DataSettings, rows: Rows) -> cleaning.Messages:
    """Return the cleaned messages of the text columns of each row.

    Raises:
        errors.DataError: a text column holds bytes or nested values.
    """
    columns, problems = {}, ProblemLog()
    for name in settings.text_columns:
        with problems.collect():
            texts = column_as_text(rows, name).to_pylist()
            columns[name] = cleaning.clean_messages(texts, settings.text_processing_steps)
    problems.raise_if_any()
    return cleaning.join_columns(columns)


def get_ids(rows: Rows, name: str | None) -> pa.Array:
    """Return the ids as they were read; null if there is no such column, as in serving; FILE:ROW without a name.

    Raises:
        errors.DataError: the ids are nested values, durations or of an unknown extension type.
    """
    if name is None:
        return rows.row_ids()
    ids = rows.columns.get(name, pa.nulls(len(rows)))
    if not can_be_written(ids.type):
        raise errors.DataError([wrong_type(rows, name, "text or plain values")])
    return ids


def _log_read_problems(source: Iterable[Rows], problems: ProblemLog) -> Iterator[Rows]:
    """Yield the blocks of `source`. Read errors go to `problems`, to be reported together with those of values."""
    with problems.collect():
        yield from source


def _add_text(
    block: EncodedSplit,
    messages: cleaning.Messages,
    chunker: Chunker,
    tokenizer: text_tokenizer.TextTokenizer | text_tokenizer.CachedTokenizer,
) -> EncodedSplit:
    chunks = chunker.chunk(tokenizer.encode(messages.texts), messages.counts)
    return replace(
        block,
        tokens=chunks.tokens.values,
        chunk_starts=chunks.tokens.starts,
        row_starts=compute_starts(chunks.counts),
        dropped_tokens=chunks.dropped,
        empty_texts=int((messages.counts == 0).sum()),
    )
