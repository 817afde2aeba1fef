"""What looks like a leak, or like a column in the wrong role, in the training split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.tree import DecisionTreeClassifier

from fusionzoo import errors
from fusionzoo.data.bottom_k import BottomK
from fusionzoo.data.data_settings import DataSettings

SAMPLE = 20_000  # rows that are looked at
LONGEST = 256  # characters of a value or label: those that agree in so many are taken for the same

LEAK = 0.95  # of the errors of always guessing the commonest class, taken away by one column alone
LEAST_ROWS = 50
LEAST_CLASS_ROWS = 5  # of the two commonest classes, for a share of errors to mean something
MOST_CLASSES = 50  # the commonest, whose rows are judged: a tree's cost is that of rows times classes
FOLDS = 3
LEAVES = 32  # of the tree that judges a number, and one more for each class

LEAST_VALUES = 100
DISTINCT = 0.5  # of a category's values, from which on it is no category
FEW_TEXTS = ((1_000, 20), (100, 5), (2, 1))  # of so many texts at least, so many different ones at most are few
MOST_TEXTS = max(few for _, few in FEW_TEXTS)


class Guards:
    """Gathered in the same pass as the fit; the warnings depend on the order of the rows, not on their blocks.

    Holds `SAMPLE` rows without their texts, and hashes of `MOST_TEXTS` different texts of each column.
    """

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings
        self._sample = BottomK(SAMPLE)
        self._texts = {name: _DistinctTexts() for name in settings.text_columns}

    def add(
        self,
        labels: pa.Array,
        categories: Mapping[str, pa.Array],
        numbers: Mapping[str, np.ndarray],
        texts: Mapping[str, pa.Array],
    ) -> None:
        """One block of train.

        Args:
            labels: canonical text, without null.
            categories: canonical text of each category column, null where missing.
            numbers: float64 [rows] of each number column, NaN where missing.
            texts: raw text of each text column, null where there is none.
        """

        def rows(taken: np.ndarray) -> pa.RecordBatch:
            label = _cut(labels.take(taken))
            values = [categories[name].take(taken) for name in self.settings.cat_field_list]
            words = [pc.count_substring_regex(some, r"\S+").cast(pa.int64()) for some in values]
            some_numbers = [pa.array(numbers[name][taken]) for name in self.settings.tab_field_list]
            columns = [label, *map(_cut, values), *words, *some_numbers]
            return pa.RecordBatch.from_arrays(columns, [str(i) for i in range(len(columns))])

        self._sample.add(len(labels), rows)
        for name, distinct in self._texts.items():
            distinct.add(texts[name])

    def warnings(self) -> list[str]:
        """What a user should look at: leaks first, then categories, then texts, in the order of the settings."""
        if not self._sample.seen:
            return []
        label, *columns = self._sample.rows().columns
        n = len(self.settings.cat_field_list)
        values, words, numbers = columns[:n], columns[n : 2 * n], columns[2 * n :]
        return [*self._leaks(label, values, numbers), *self._no_categories(values, words), *self._few_texts()]

    def _leaks(self, label: pa.Array, values: Sequence[pa.Array], numbers: Sequence[pa.Array]) -> Iterator[str]:
        classes = _by_frequency(_codes(label))
        judged = classes < MOST_CLASSES
        classes = classes[judged]
        shares = [reduction_by_category(_codes(some)[judged], classes) for some in values]
        shares += [reduction_by_number(_ranks(some.to_numpy())[judged], classes) for some in numbers]
        names = [*self.settings.cat_field_list, *self.settings.tab_field_list]
        for name, share in zip(names, shares, strict=True):
            if share is not None and share >= LEAK:
                yield errors.column_tells_label(name, self.settings.label_name, share, len(classes))

    def _no_categories(self, values: Sequence[pa.Array], words: Sequence[pa.Array]) -> Iterator[str]:
        for name, some, counts in zip(self.settings.cat_field_list, values, words, strict=True):
            present = some.drop_null()
            if len(present) >= LEAST_VALUES:
                _, per_value = np.unique(_codes(present), return_counts=True)
                of_train = len(present) * self._sample.seen / len(some)
                if _distinct(per_value, of_train) > DISTINCT * of_train:
                    yield errors.no_category(name, len(per_value), len(present), pc.mean(counts).as_py())

    def _few_texts(self) -> Iterator[str]:
        for name, texts in self._texts.items():
            different = len(texts.hashes)
            if not different:
                yield errors.text_without_values(name)
            elif any(texts.count >= least and different <= few for least, few in FEW_TEXTS):
                yield errors.few_texts(name, different, texts.count)


class _DistinctTexts:
    """How many texts a column has, and hashes of the different ones, until those are more than `MOST_TEXTS`."""

    def __init__(self) -> None:
        self.count = 0
        self.hashes: set[bytes] = set()

    def add(self, texts: pa.Array) -> None:
        self.count += len(texts) - texts.null_count
        if len(self.hashes) <= MOST_TEXTS:
            for text in pc.unique(texts.drop_null())[: MOST_TEXTS + 1].to_pylist():
                self.hashes.add(hashlib.blake2b(text.encode(), digest_size=16).digest())


# --- how well one column alone tells the class: the share of the errors of always guessing the commonest class that it
# takes away (lambda of Goodman and Kruskal 1954), but on rows that the guess was not made from, so that an id tells
# nothing


def reduction_by_category(codes: np.ndarray, classes: np.ndarray) -> float | None:
    """The share of errors that go where each row gets the commonest class of the other rows with its value.

    Args:
        codes: [rows] int64 from 0, each row's value.
        classes: [rows] int64, the classes in order of their frequency, which decides where several are commonest.

    Returns:
        None where there are too few rows to tell.
    """
    if _too_few(classes):
        return None
    number = int(classes.max()) + 1
    cells, counts = np.unique(codes * number + classes, return_counts=True)
    value, label = np.divmod(cells, number)
    rank = counts * number + (number - 1 - label)  # by count, then by frequency of the class
    order = np.lexsort((rank, value))
    last = np.flatnonzero(np.diff(value[order], append=-1))  # of each value
    best, before = order[last], order[last - 1]
    second = np.where((last > 0) & (value[before] == value[best]), rank[before], -1)
    second = np.maximum(second, np.where(label[best] == 0, -1, number - 1))  # without other rows: the commonest of all
    right = counts[best][rank[best] - number > second].sum()  # the row that is guessed does not count itself
    return _reduction(int(right), classes)


def reduction_by_number(ranks: np.ndarray, classes: np.ndarray) -> float | None:
    """The share of errors that go with a small decision tree, each of `FOLDS` folds judged by a tree of the others.

    Args:
        ranks: [rows] int64, the order of the values; those that are missing share one rank at the end.
        classes: [rows] int64, the classes in order of their frequency.

    Returns:
        None where there are too few rows to tell.
    """
    if _too_few(classes):
        return None
    fold = np.empty(len(classes), np.int64)
    fold[np.argsort(classes, kind="stable")] = np.arange(len(classes)) % FOLDS  # stratified
    x = ranks[:, None].astype(np.float32)
    right = 0
    for one in range(FOLDS):
        inside, outside = fold == one, fold != one
        tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES + int(classes.max()) + 1, random_state=0)
        right += int((tree.fit(x[outside], classes[outside]).predict(x[inside]) == classes[inside]).sum())
    return _reduction(right, classes)


def _too_few(classes: np.ndarray) -> bool:
    per_class = np.bincount(classes)
    return len(classes) < LEAST_ROWS or len(per_class) < 2 or per_class[1] < LEAST_CLASS_ROWS


def _reduction(right: int, classes: np.ndarray) -> float:
    guessed = int((classes == 0).sum())
    return (right - guessed) / (len(classes) - guessed)


# --- columns as numbers


def _cut(values: pa.Array) -> pa.Array:
    return pc.utf8_slice_codeunits(values, 0, LONGEST)


def _codes(values: pa.Array) -> np.ndarray:
    """A number from 0 on for each value [rows] int64; null is a value."""
    codes: np.ndarray = values.dictionary_encode("encode").indices.to_numpy().astype(np.int64)
    return codes


def _by_frequency(codes: np.ndarray) -> np.ndarray:
    """The codes renumbered: 0 is the commonest."""
    counts = np.bincount(codes)
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    renumbered: np.ndarray = place[codes]
    return renumbered


def _ranks(values: np.ndarray) -> np.ndarray:
    """The order of the values [rows] int64, equal ones alike, NaN last: exact where a tree's float32 would not be."""
    ranks: np.ndarray = np.unique(values, return_inverse=True)[1]
    return ranks


def _distinct(per_value: np.ndarray, total: float) -> float:
    """An estimate of how many different values `total` rows have, of which a sample has `per_value` rows of each.

    Exact where the sample is all; else from how many values the sample has once and twice (Chao 1984).
    """
    if per_value.sum() >= total:
        return len(per_value)
    once, twice = int((per_value == 1).sum()), int((per_value == 2).sum())
    return min(total, len(per_value) + once * (once - 1) / (2 * (twice + 1)))
