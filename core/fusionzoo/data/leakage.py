"""Warn of columns in train that look like a leak of the label, or that are used in the wrong role."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.tree import DecisionTreeClassifier

from fusionzoo.data.bottom_k import BottomK
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.data.value_codes import values_to_codes

SAMPLE_ROWS = 20_000  # rows that are examined
MAX_COMPARED_LENGTH = 256  # characters of a value or label; values with the same beginning count as equal

# Leaks
MIN_LEAK_REDUCTION = 0.95  # share of the errors of the majority class guess that a single column avoids
MIN_ROWS = 50
MIN_CLASS_ROWS = 5  # of the second most frequent class, so that a share of errors is meaningful
MAX_CLASSES = 50  # only rows of the most frequent classes are examined: the cost of a tree is rows times classes
FOLDS = 3
TREE_LEAVES = 32  # of the tree for a number column, plus one for each class

# Categories that are ids or free text
MIN_CATEGORY_VALUES = 100
MAX_DISTINCT_SHARE = 0.5  # of the values of a category column
MIN_FREE_TEXT_WORDS = 3  # mean words per value

# Texts that are categories: (minimum number of texts, maximum number of distinct texts)
FEW_TEXTS = ((1_000, 20), (100, 5), (2, 1))
MAX_FEW_TEXTS = max(max_distinct for _, max_distinct in FEW_TEXTS)


class ColumnChecks:
    """Examines train in the same pass as the fit. The warnings depend on the order of the rows, not on their blocks.

    Holds `SAMPLE_ROWS` rows without their texts, and hashes of `MAX_FEW_TEXTS` distinct texts of each column.
    """

    def __init__(self, settings: DataSettings) -> None:
        self.settings, self._target = settings, choose_target(settings)
        self._sample = BottomK(SAMPLE_ROWS)
        self._texts = {name: _DistinctTexts() for name in settings.text_columns}

    def add(
        self,
        labels: Sequence[pa.Array],
        categories: Mapping[str, pa.Array],
        numbers: Mapping[str, np.ndarray],
        texts: Mapping[str, pa.Array],
    ) -> None:
        """Add a block of train.

        Args:
            labels: the labels that the scan of the target returned, without null.
            categories: canonical text of each category column, null where missing.
            numbers: float64 [rows] of each number column, NaN where missing.
            texts: raw text of each text column, null if there is none.
        """

        def select_rows(selected: np.ndarray) -> pa.RecordBatch:
            targets = [_shorten(column.take(selected)) for column in labels]
            values = [categories[name].take(selected) for name in self.settings.cat_field_list]
            word_counts = [pc.count_substring_regex(column, r"\S+").cast(pa.int64()) for column in values]
            selected_numbers = [pa.array(numbers[name][selected]) for name in self.settings.tab_field_list]
            columns = [*targets, *map(_shorten, values), *word_counts, *selected_numbers]
            return pa.RecordBatch.from_arrays(columns, [str(i) for i in range(len(columns))])

        self._sample.add(len(labels[0]), select_rows)
        for name, distinct_texts in self._texts.items():
            distinct_texts.add(texts[name])

    def warnings(self) -> list[str]:
        """Return the warnings: leaks first, then categories, then texts, in the order of the settings."""
        if not self._sample.seen:
            return []
        columns = self._sample.rows().columns
        n, m = len(self.settings.cat_field_list), len(self.settings.tab_field_list)
        first = len(columns) - 2 * n - m
        labels, rest = columns[:first], columns[first:]
        values, word_counts, numbers = rest[:n], rest[n : 2 * n], rest[2 * n :]
        targets = self._target.leak_classes(labels)
        return [
            *(leak for name, codes in targets.items() for leak in self._find_leaks(name, codes, values, numbers)),
            *self._find_wrong_categories(values, word_counts),
            *self._find_wrong_texts(),
        ]

    def _find_leaks(
        self, target: str, codes: np.ndarray, values: Sequence[pa.Array], numbers: Sequence[pa.Array]
    ) -> Iterator[str]:
        classes = _renumber_by_frequency(codes)
        examined = classes < MAX_CLASSES
        classes = classes[examined]
        reductions = [error_reduction_of_category(values_to_codes(column)[examined], classes) for column in values]
        reductions += [error_reduction_of_number(_to_ranks(column.to_numpy())[examined], classes) for column in numbers]
        names = [*self.settings.cat_field_list, *self.settings.tab_field_list]
        for name, reduction in zip(names, reductions, strict=True):
            if reduction is not None and reduction >= MIN_LEAK_REDUCTION:
                yield (
                    f"Column '{name}' alone predicts '{target}' almost perfectly: it avoids "
                    f"{reduction:.1%} of the errors of always predicting the most frequent {self._target.leak_class} "
                    f"(measured on {len(classes):,} rows of train). Leave it out if its value is not known at "
                    "prediction time."
                )

    def _find_wrong_categories(self, values: Sequence[pa.Array], word_counts: Sequence[pa.Array]) -> Iterator[str]:
        for name, column, counts in zip(self.settings.cat_field_list, values, word_counts, strict=True):
            present = column.drop_null()
            if len(present) >= MIN_CATEGORY_VALUES:
                _, rows_per_value = np.unique(values_to_codes(present), return_counts=True)
                present_in_train = len(present) * self._sample.seen / len(column)
                if _estimate_distinct(rows_per_value, present_in_train) > MAX_DISTINCT_SHARE * present_in_train:
                    yield _describe_wrong_category(name, len(rows_per_value), len(present), pc.mean(counts).as_py())

    def _find_wrong_texts(self) -> Iterator[str]:
        for name, texts in self._texts.items():
            distinct = len(texts.hashes)
            if not distinct:
                yield f"Text column '{name}' has no text in train: leave it out, or check text_name."
            elif any(texts.count >= min_texts and distinct <= max_distinct for min_texts, max_distinct in FEW_TEXTS):
                yield _describe_few_texts(name, distinct, texts.count)


def _describe_wrong_category(column: str, distinct: int, values: int, words: float) -> str:
    is_free_text = words >= MIN_FREE_TEXT_WORDS
    role, fix = ("free text", "move it to text_name") if is_free_text else ("an id", "leave it out")
    return (
        f"Category column '{column}' looks like {role}: {distinct:,} of {values:,} examined values of train are "
        f"distinct, with {words:.1f} words each. A model learns nothing from values that rarely repeat: {fix}."
    )


def _describe_few_texts(column: str, distinct: int, texts: int) -> str:
    if distinct == 1:
        return f"Text column '{column}' has the same text in all {texts:,} rows of train that have one: leave it out."
    return (
        f"Text column '{column}' looks like a category: it has only {distinct} distinct texts in {texts:,} rows of "
        "train. Move it to cat_field_list, unless future rows will have other texts."
    )


class _DistinctTexts:
    """Counts the texts of a column and holds hashes of the distinct ones, up to more than `MAX_FEW_TEXTS`."""

    def __init__(self) -> None:
        self.count = 0
        self.hashes: set[bytes] = set()

    def add(self, texts: pa.Array) -> None:
        self.count += len(texts) - texts.null_count
        if len(self.hashes) <= MAX_FEW_TEXTS:
            for text in pc.unique(texts.drop_null())[: MAX_FEW_TEXTS + 1].to_pylist():
                self.hashes.add(hashlib.blake2b(text.encode(), digest_size=16).digest())


# --- How well a single column predicts the class: the share of the errors of the majority class guess that it avoids
# (lambda of Goodman and Kruskal 1954), but measured on rows that the prediction was not made from, so that an id does
# not count as a leak.


def error_reduction_of_category(codes: np.ndarray, classes: np.ndarray) -> float | None:
    """Return the share of errors avoided if each row gets the most frequent class of the other rows with its value.

    Args:
        codes: [rows] int64, the value of each row, starting at 0.
        classes: [rows] int64, the classes in order of their frequency, which decides ties.

    Returns:
        The share, or None if there are too few rows.
    """
    if _has_too_few_rows(classes):
        return None
    class_count = int(classes.max()) + 1
    cells, counts = np.unique(codes * class_count + classes, return_counts=True)
    value, label = np.divmod(cells, class_count)
    rank = counts * class_count + (class_count - 1 - label)  # by count, then by frequency of the class
    order = np.lexsort((rank, value))
    last = np.flatnonzero(np.diff(value[order], append=-1))  # of each value
    best, before = order[last], order[last - 1]
    second = np.where((last > 0) & (value[before] == value[best]), rank[before], -1)
    # Without other rows, the guess is the most frequent class of all.
    second = np.maximum(second, np.where(label[best] == 0, -1, class_count - 1))
    # The row that is predicted does not count itself.
    correct = counts[best][rank[best] - class_count > second].sum()
    return _compute_reduction(int(correct), classes)


def error_reduction_of_number(ranks: np.ndarray, classes: np.ndarray) -> float | None:
    """Return the share of errors avoided by a small decision tree, cross-validated over `FOLDS` folds.

    Args:
        ranks: [rows] int64, the rank of each value; missing values share one rank at the end.
        classes: [rows] int64, the classes in order of their frequency.

    Returns:
        The share, or None if there are too few rows.
    """
    if _has_too_few_rows(classes):
        return None
    fold_of_row = np.empty(len(classes), np.int64)
    fold_of_row[np.argsort(classes, kind="stable")] = np.arange(len(classes)) % FOLDS  # stratified
    x = ranks[:, None].astype(np.float32)
    correct = 0
    for fold in range(FOLDS):
        in_fold = fold_of_row == fold
        tree = DecisionTreeClassifier(max_leaf_nodes=TREE_LEAVES + int(classes.max()) + 1, random_state=0)
        tree.fit(x[~in_fold], classes[~in_fold])
        correct += int((tree.predict(x[in_fold]) == classes[in_fold]).sum())
    return _compute_reduction(correct, classes)


def _has_too_few_rows(classes: np.ndarray) -> bool:
    rows_per_class = np.bincount(classes)
    return len(classes) < MIN_ROWS or len(rows_per_class) < 2 or rows_per_class[1] < MIN_CLASS_ROWS


def _compute_reduction(correct: int, classes: np.ndarray) -> float:
    correct_by_majority = int((classes == 0).sum())
    return (correct - correct_by_majority) / (len(classes) - correct_by_majority)


# --- columns as integers


def _shorten(values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(values, 0, MAX_COMPARED_LENGTH) if pa.types.is_string(values.type) else values


def _renumber_by_frequency(codes: np.ndarray) -> np.ndarray:
    """Return the codes renumbered so that 0 is the most frequent one."""
    counts = np.bincount(codes)
    new_code = np.empty(len(counts), np.int64)
    new_code[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    renumbered: np.ndarray = new_code[codes]
    return renumbered


def _to_ranks(values: np.ndarray) -> np.ndarray:
    """Return the rank of each value, [rows] int64; equal values share one, NaN is last.

    Ranks are exact where the float32 of a decision tree would merge values.
    """
    ranks: np.ndarray = np.unique(values, return_inverse=True)[1]
    return ranks


def _estimate_distinct(rows_per_value: np.ndarray, total: float) -> float:
    """Estimate how many distinct values `total` rows have, given the number of rows of each value in a sample.

    Exact if the sample has all rows; otherwise from the number of values that occur once and twice (Chao 1984).
    """
    if rows_per_value.sum() >= total:
        return len(rows_per_value)
    once, twice = int((rows_per_value == 1).sum()), int((rows_per_value == 2).sum())
    return min(total, len(rows_per_value) + once * (once - 1) / (2 * (twice + 1)))
