"""Fit a preprocessor: one pass over train, and one over each other split to find all problems early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.ids import has_common_type
from fusionzoo.data.leakage import ColumnChecks
from fusionzoo.data.null_words import NullWords
from fusionzoo.data.preprocessor import Preprocessor, TextPreprocessor, clean_row_messages, get_ids
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import describe_type
from fusionzoo.data.similar_values import warn_of_similar_values
from fusionzoo.data.table import categories
from fusionzoo.data.table.numbers import NumberEncoder, NumberStatistics, column_as_numbers
from fusionzoo.data.targets.target import SPLITS_WITH_OPTIONAL_LABELS, Target
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.data.text import text_tokenizer, word_vectors


@dataclass(frozen=True)
class FitResult:
    """A fitted preprocessor and what the pass over train found."""

    preprocessor: Preprocessor
    rows: int  # of train
    warnings: tuple[str, ...]  # possible leaks and columns in the wrong role


def fit_preprocessor(
    settings: DataSettings, train: Iterable[Rows], other_splits: Mapping[str, Iterable[Rows]] | None = None
) -> FitResult:
    """Fit a preprocessor on train, and on nothing else.

    Args:
        settings: the settings of the job.
        train: the rows of train.
        other_splits: the job's other splits by name. They are only checked: their problems are reported together with
            those of train, before any text is tokenized.

    Raises:
        errors.DataError: labels, numbers or texts that cannot be used; all problems together.
        errors.TokenizerError, errors.EmbeddingsError: the tokenizer or its vectors cannot be loaded. Raised before any
            row is read.
    """
    other_splits = other_splits or {}
    tokenizer = _load_pretrained_tokenizer(settings)
    train_scan = _TrainScan(settings, tokenizer)
    train_scan.read(train)
    scans = {"train": train_scan, **{name: _SplitScan(settings, name) for name in other_splits}}
    for name, source in other_splits.items():
        scans[name].read(source)
    problems = ProblemLog()
    for name, scan in scans.items():
        scan.report_problems(name, problems)
    has_all_labels = train_scan.is_complete and train_scan.target.rows == train_scan.rows
    if not train_scan.target.is_empty and has_all_labels:
        with problems.collect():
            target = train_scan.target.fit(settings)
            for name in other_splits:
                with problems.collect():
                    target.check(scans[name].target, name)
    if train_scan.rows and not train_scan.problems.problems:
        with problems.collect():
            text = train_scan.fit_text()
    problems.raise_if_any()
    preprocessor = Preprocessor(settings, text, train_scan.fit_categories(), train_scan.fit_numbers(), target)
    return FitResult(preprocessor, train_scan.rows, tuple(train_scan.warnings(target)))


def check_other_splits(preprocessor: Preprocessor, other_splits: Mapping[str, Iterable[Rows]]) -> None:
    """Raise errors.DataError with all problems of the values of splits that are not encoded yet."""
    problems = ProblemLog()
    for name, source in other_splits.items():
        scan = _SplitScan(preprocessor.settings, name)
        scan.read(source)
        scan.report_problems(name, problems)
        with problems.collect():
            preprocessor.target.check(scan.target, name)
    problems.raise_if_any()


def _load_pretrained_tokenizer(settings: DataSettings) -> text_tokenizer.TextTokenizer | None:
    """Return the pretrained tokenizer; None without text, or for `word`, whose source of vectors is checked."""
    if not settings.text_columns:
        return None
    if settings.tokenizer_name == text_tokenizer.WORD_TOKENIZER:
        word_vectors.check_embeddings_source(settings)
        return None
    tokenizer = text_tokenizer.load_tokenizer(settings.tokenizer_name)
    special_count = len(tokenizer.prefix) + len(tokenizer.suffix)
    if settings.max_sen_len <= special_count:
        raise errors.HyperparametersError([errors.max_sen_len_too_small(settings.max_sen_len, special_count)])
    return tokenizer


@dataclass(frozen=True)
class _ParsedColumns:
    """The columns of a block that could be read, each in the form of its role."""

    categories: Mapping[str, pa.Array]
    numbers: Mapping[str, np.ndarray]
    texts: Mapping[str, pa.Array]
    labels: Sequence[pa.Array]


class _SplitScan:
    """One pass over a split: counts its labels and finds all problems of its values."""

    def __init__(self, settings: DataSettings, name: str) -> None:
        self.settings = settings
        self.null_words = NullWords.of(settings)
        self.target = choose_target(settings).scan(optional=name in SPLITS_WITH_OPTIONAL_LABELS)
        self.problems = ProblemLog()
        self.id_types: dict[pa.DataType, str] = {}  # with a part file that has ids of this type
        self.rows = 0
        self.is_complete = False  # whether all blocks could be read

    def read(self, source: Iterable[Rows]) -> None:
        """Read all blocks. Problems go to `self.problems`."""
        with self.problems.collect():
            for rows in source:
                self.rows += len(rows)
                self.problems.count_rows(rows)
                features = self.null_words.replace(rows)
                self.update(features, self._parse_columns(rows, features))
            self.is_complete = True
        if not has_common_type(set(self.id_types)):
            types = {describe_type(id_type): file for id_type, file in self.id_types.items()}
            self.problems.add(errors.ids_without_common_type(self.settings.id_column, types))

    def report_problems(self, name: str, problems: ProblemLog) -> None:
        """Add the problems of this split, called `name`, to `problems`."""
        for problem in self.problems.problems:
            problems.add(problem)
        if not self.rows and not self.problems.problems:
            problems.add(errors.channel_without_rows(name))

    def update(self, features: Rows, columns: _ParsedColumns) -> None:
        """Update the fit with a block. Does nothing for splits other than train."""

    def _parse_columns(self, rows: Rows, features: Rows) -> _ParsedColumns:
        settings, collect = self.settings, self.problems.collect
        texts, category_values, numbers = {}, {}, {}
        label_values: Sequence[pa.Array] = ()
        with collect():
            label_values = self.target.add(rows)
        for name in settings.cat_field_list:
            with collect():
                category_values[name] = categories.canonicalize_column(features, name)
        for name in settings.tab_field_list:
            with collect():
                numbers[name] = column_as_numbers(features, name)
        for name in settings.text_columns:
            with collect():
                texts[name] = column_as_text(features, name)
        with collect():
            self.id_types.setdefault(get_ids(rows, settings.id_name).type, rows.source)
        return _ParsedColumns(category_values, numbers, texts, label_values)


class _TrainScan(_SplitScan):
    """The pass that fits, in memory that does not grow with the number of rows."""

    def __init__(self, settings: DataSettings, tokenizer: text_tokenizer.TextTokenizer | None) -> None:
        super().__init__(settings, "train")
        self.tokenizer = tokenizer
        self.categories = {name: Counter[str]() for name in settings.cat_field_list}
        self.numbers = {name: NumberStatistics(name) for name in settings.tab_field_list}
        self.words = text_tokenizer.WordCounter() if settings.text_columns and tokenizer is None else None
        self.column_checks = ColumnChecks(settings)

    def update(self, features: Rows, columns: _ParsedColumns) -> None:
        for name, values in columns.categories.items():
            with self.problems.collect():
                categories.count_categories(self.categories[name], values, name)
        for name, numbers in columns.numbers.items():
            self.numbers[name].add(numbers)
        if self.problems.problems:
            return  # skip the expensive steps; this fit is discarded
        if self.words is not None:
            self.words.add(clean_row_messages(self.settings, features).texts)
        self.column_checks.add(columns.labels, columns.categories, columns.numbers, columns.texts)

    def fit_text(self) -> TextPreprocessor | None:
        """Return the fitted text side.

        Raises:
            errors.DataError: no row has any text, or no word occurs often enough.
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
        return TextPreprocessor(tokenizer, *limits, embedding_dim)

    def fit_categories(self) -> tuple[categories.CategoryEncoder, ...]:
        """Return the encoders of the category columns."""
        min_count = self.settings.min_category_count
        return tuple(
            categories.fit_category_encoder(name, counts, min_count) for name, counts in self.categories.items()
        )

    def fit_numbers(self) -> tuple[NumberEncoder, ...]:
        """Return the encoders of the number columns."""
        return tuple(statistics.fit(self.settings.clip_outliers) for statistics in self.numbers.values())

    def warnings(self, target: Target) -> list[str]:
        """Return the warnings about train. Call this after all other `fit_*` methods."""
        category_warnings = [
            f"Category column '{name}' has no value in train: the model can only use that it is missing."
            for name, counts in self.categories.items()
            if not counts
        ]
        number_warnings = [warning for statistics in self.numbers.values() for warning in statistics.warnings]
        for name, counts in self.categories.items():
            category_warnings += warn_of_similar_values(name, "category", counts)
        return [*self.target.warnings(target), *category_warnings, *number_warnings, *self.column_checks.warnings()]
