"""Fit a preprocessor: one pass over train, and a look at the other splits that finds all faults before any cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data import labels
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.ids import common_type_exists
from fusionzoo.data.leakage import Guards
from fusionzoo.data.preprocessor import Preprocessor, TextPart, ids_of, row_messages
from fusionzoo.data.reading.channel import Rows, as_text
from fusionzoo.data.table import categories
from fusionzoo.data.table.numbers import NumberEncoder, NumberStatistics, as_numbers
from fusionzoo.data.text import text_tokenizer, word_vectors


@dataclass(frozen=True)
class Fit:
    """What the training split decided."""

    preprocessor: Preprocessor
    rows: int  # of the training split
    warnings: tuple[str, ...]  # what looks like a leak, or like a column in the wrong role


def fit_preprocessor(
    settings: DataSettings, train: Iterable[Rows], others: Mapping[str, Iterable[Rows]] | None = None
) -> Fit:
    """The preprocessor that the training split, and nothing else, decides.

    Args:
        others: the job's other splits by name, which are only looked through: their faults are reported together with
            those of train, before anything is tokenized.

    Raises:
        errors.DataError: labels, numbers or texts that cannot be used; all faults together.
        errors.TokenizerError, errors.EmbeddingsError: the tokenizer or its vectors are not to be had; no row is read.
    """
    tokenizer = _tokenizer(settings)
    train_pass = _TrainPass(settings, tokenizer)
    train_pass.read(train)
    passes = {"train": train_pass, **{name: _Pass(settings) for name in others or {}}}
    for name, source in (others or {}).items():
        passes[name].read(source)
    problems = errors.ProblemLog()
    for name, one in passes.items():
        one.tell(name, problems)
    if train_pass.labels.counts and train_pass.complete:
        with problems.kept():
            label_map = train_pass.labels.fit(settings)
            for name in others or {}:
                with problems.kept():
                    label_map.check(passes[name].labels, name)
    if train_pass.rows and not train_pass.problems.problems:
        with problems.kept():
            text = train_pass.fit_text()
    problems.raise_if_any()
    fitted = Preprocessor(settings, text, train_pass.fit_categories(), train_pass.fit_numbers(), label_map)
    return Fit(fitted, train_pass.rows, tuple(train_pass.warnings(label_map)))


def check_other_splits(fitted: Preprocessor, others: Mapping[str, Iterable[Rows]]) -> None:
    """Raises errors.DataError with all that is wrong with the values of splits which are not encoded yet."""
    problems = errors.ProblemLog()
    for name, source in others.items():
        one = _Pass(fitted.settings)
        one.read(source)
        one.tell(name, problems)
        with problems.kept():
            fitted.labels.check(one.labels, name)
    problems.raise_if_any()


def _tokenizer(settings: DataSettings) -> text_tokenizer.TextTokenizer | None:
    """The pretrained tokenizer; None without text, or where words are to be fitted, whose vectors are looked for."""
    if not settings.text_columns:
        return None
    if settings.tokenizer == text_tokenizer.WORD:
        word_vectors.check_source(settings)
        return None
    tokenizer = text_tokenizer.load_tokenizer(settings.tokenizer)
    special = len(tokenizer.prefix) + len(tokenizer.suffix)
    if settings.max_sen_len <= special:
        raise errors.HyperparametersError([errors.chunks_without_room(settings.max_sen_len, special)])
    return tokenizer


@dataclass(frozen=True)
class _Columns:
    """The columns of a block that could be read, each in the form of its role."""

    categories: Mapping[str, pa.Array]
    numbers: Mapping[str, np.ndarray]
    texts: Mapping[str, pa.Array]
    labels: pa.Array | None


class _Pass:
    """One look at a split: its labels, and all that is wrong with its values."""

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings
        self.labels = labels.LabelCounts(settings.label_name)
        self.problems = errors.ProblemLog()
        self.id_types: dict[pa.DataType, str] = {}  # and a part file that has such ids
        self.rows = 0
        self.complete = False  # whether all blocks could be read

    def read(self, source: Iterable[Rows]) -> None:
        """Read all blocks; what is wrong is kept in `faults`."""
        with self.problems.kept():
            for rows in source:
                self.rows += len(rows)
                self.use(rows, self._columns(rows))
            self.complete = True
        if not common_type_exists(set(self.id_types)):
            kinds = {str(kind): where for kind, where in self.id_types.items()}
            self.problems.keep(errors.ids_without_common_type(self.settings.id_name, kinds))

    def tell(self, name: str, problems: errors.ProblemLog) -> None:
        """Add what was found in the split of this name."""
        for fault in self.problems.problems:
            problems.keep(fault)
        if not self.rows and not self.problems.problems:
            problems.keep(errors.no_rows(name))

    def use(self, rows: Rows, columns: _Columns) -> None:
        """Learn from a block; here, nothing."""

    def _columns(self, rows: Rows) -> _Columns:
        settings, kept = self.settings, self.problems.kept
        texts, ids, values = {}, {}, {}
        label_texts: pa.Array | None = None
        with kept():
            label_texts = self.labels.add(rows)
        for name in settings.cat_field_list:
            with kept():
                ids[name] = categories.canonical_category(rows, name)
        for name in settings.tab_field_list:
            with kept():
                values[name] = as_numbers(rows, name)
        for name in settings.text_columns:
            with kept():
                texts[name] = as_text(rows, name)
        with kept():
            self.id_types.setdefault(ids_of(rows, settings.id_name).type, rows.source)
        return _Columns(ids, values, texts, label_texts)


class _TrainPass(_Pass):
    """The pass that fits, in memory that does not grow with the rows."""

    def __init__(self, settings: DataSettings, tokenizer: text_tokenizer.TextTokenizer | None) -> None:
        super().__init__(settings)
        self.tokenizer = tokenizer
        self.categories = {name: Counter[str]() for name in settings.cat_field_list}
        self.numbers = {name: NumberStatistics(name) for name in settings.tab_field_list}
        self.words = text_tokenizer.WordCounter() if settings.text_columns and tokenizer is None else None
        self.guards = Guards(settings)

    def use(self, rows: Rows, columns: _Columns) -> None:
        for name, values in columns.categories.items():
            with self.problems.kept():
                categories.count(self.categories[name], values, name)
        for name, numbers in columns.numbers.items():
            self.numbers[name].add(numbers)
        if self.problems.problems:
            return  # the rest is dear, and for nothing
        if self.words is not None:
            self.words.add(row_messages(self.settings, rows).texts)
        self.guards.add(columns.labels, columns.categories, columns.numbers, columns.texts)

    def fit_text(self) -> TextPart | None:
        """The text side.

        Raises:
            errors.DataError: no row has any text, or no word comes often enough.
        """
        settings, tokenizer = self.settings, self.tokenizer
        embedding_dim = None
        if self.words is not None:
            if not self.words.counts:
                raise errors.DataError([errors.no_text(settings.text_columns)])
            tokenizer = self.words.fit(settings.word_vocab_size, settings.word_min_count)
            embedding_dim = settings.embedding_dim
        if tokenizer is None:
            return None
        limits = settings.max_sen_len, settings.max_total_chunks, settings.chunk_keep
        return TextPart(tokenizer, *limits, embedding_dim)

    def fit_categories(self) -> tuple[categories.CategoryEncoder, ...]:
        """The category columns."""
        least = self.settings.min_category_count
        return tuple(categories.fit(name, counts, least) for name, counts in self.categories.items())

    def fit_numbers(self) -> tuple[NumberEncoder, ...]:
        """The number columns."""
        return tuple(statistics.fit(self.settings.clip_outliers) for statistics in self.numbers.values())

    def warnings(self, fitted: labels.LabelMap) -> list[str]:
        """What a user should know, after all is fitted."""
        of_numbers = [warning for statistics in self.numbers.values() for warning in statistics.warnings]
        return [*self.labels.warnings(fitted), *of_numbers, *self.guards.warnings()]
