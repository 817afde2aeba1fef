"""Label sets: any number of labels per row. What label columns of 0 and 1 and a column of lists have in common.

Encoded labels are 0 or 1 for each label, [rows, labels] int8; `NO_LABEL` where an optional label is null.
"""

from __future__ import annotations

import json
from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.targets.class_labels import Label, canonical_label
from fusionzoo.data.targets.target import Strata, Target, TargetReader
from fusionzoo.data.value_codes import ValueCodes
from fusionzoo.errors import target_errors
from fusionzoo.errors.wording import quote_first

MIN_LABELS, MAX_LABELS = 2, 10_000
MAX_LEAK_LABELS = 10  # the labels that are searched for leaks: the most balanced ones
MIN_ROWS_PER_STRATUM = 5


class LabelSets(Target):
    """The labels in the order of the outputs of the model."""

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """The columns that hold the labels."""

    @property
    @abstractmethod
    def labels(self) -> tuple[Label, ...]:
        """The labels as they were read."""

    @property
    @abstractmethod
    def column_type(self) -> pa.DataType:
        """The type of the arrays that `decode` returns."""

    @abstractmethod
    def decode(self, encoded: np.ndarray) -> list[pa.Array]:
        """Return encoded labels [rows, labels] as they were read, one array for each of `columns`; null if missing."""

    @property
    def num_outputs(self) -> int:
        return len(self.labels)

    @property
    def output_names(self) -> Sequence[str]:
        return [canonical_label(label) for label in self.labels]


class LabelSetReader(TargetReader):
    """The target of a multilabel classification."""

    leak_class = "value"

    @property
    def num_expected_outputs(self) -> int:
        settings = self.settings
        return max(MIN_LABELS, len(settings.label_columns), len(settings.classes or ()), settings.num_classes or 0)

    @abstractmethod
    def read_sets(self, rows: Rows, optional: bool) -> pa.Array:
        """Return the labels of each row as one text, equal for equal sets: a sorted JSON array. Null where missing.

        Raises:
            errors.DataError: a label is invalid, or missing and not optional; names rows.
        """

    def strata(self) -> Strata:
        return LabelSetStrata(self)

    def texts(self, rows: Rows) -> list[pa.Array]:
        return [self.read_sets(rows, optional=True)]


class LabelSetStrata(Strata):
    """Rows that agree in their rarest labels.

    The labels of a row are put in order, the rarest first, and rows share a stratum if they agree in the longest
    beginning that at least `MIN_ROWS_PER_STRATUM` rows have, or else in the rarest label. Iterative stratification
    (Sechidis et al. 2011, "On the Stratification of Multi-label Data") starts with the rarest label too. For each
    label, one row that has it is a stratum of its own: it stays in train, so that every label occurs there.
    """

    def __init__(self, reader: LabelSetReader) -> None:
        self.columns: Sequence[str] = reader.settings.label_columns
        self._reader, self._codes = reader, ValueCodes()

    def add(self, rows: Rows) -> None:
        self._codes.add(self._reader.read_sets(rows, optional=False))

    def codes(self) -> NDArray[np.int32]:
        set_of_row = self._codes.codes()
        sets: list[list[str]] = [json.loads(text or "[]") for text in self._codes.values()]
        rows_of_set = np.bincount(set_of_row, minlength=len(sets)).tolist()
        rows_of_label: Counter[str] = Counter()
        for labels, rows in zip(sets, rows_of_set, strict=True):
            rows_of_label.update(dict.fromkeys(labels, rows))
        rarest_first = sorted(rows_of_label, key=lambda label: (rows_of_label[label], label))
        stratum_of_set = np.array(_choose_strata(sets, rows_of_set, rarest_first), np.int64)
        codes = stratum_of_set[set_of_row]
        rows_in_train = _find_rows_with_all_labels(rarest_first, sets, set_of_row)
        codes[rows_in_train] = stratum_of_set.max(initial=0) + 1 + np.arange(len(rows_in_train))
        renumbered: NDArray[np.int32] = np.unique(codes, return_inverse=True)[1].astype(np.int32)
        return renumbered


def _choose_strata(sets: Sequence[Sequence[str]], rows_of_set: Sequence[int], rarest_first: Sequence[str]) -> list[int]:
    """Return the stratum of each label set: a node of the tree of all sets, with the rarest labels next to the root."""
    rank = {label: position for position, label in enumerate(rarest_first, start=1)}
    nodes: dict[tuple[int, int], int] = {}
    rows_of_node: Counter[int] = Counter()
    paths = []
    for labels, rows in zip(sets, rows_of_set, strict=True):
        path = [0]
        for step in [*sorted(rank[label] for label in labels), 0]:  # 0: the set has no more labels
            path.append(nodes.setdefault((path[-1], step), len(nodes) + 1))
        rows_of_node.update(dict.fromkeys(path, rows))
        paths.append(path[1:])
    # The number of a node is larger than those of the nodes above it.
    return [max((n for n in path if rows_of_node[n] >= MIN_ROWS_PER_STRATUM), default=path[0]) for path in paths]


def _find_rows_with_all_labels(
    labels: Sequence[str], sets: Sequence[Sequence[str]], set_of_row: np.ndarray
) -> np.ndarray:
    """Return few rows that have all labels together, [kept rows] int64."""
    set_of_label: dict[str, int] = {}
    for code, set_labels in enumerate(sets):
        for label in set_labels:
            set_of_label.setdefault(label, code)
    first_row_of_set = np.unique(set_of_row, return_index=True)[1]
    covered: set[str] = set()
    selection = []
    for label in labels:
        if label not in covered:
            code = set_of_label[label]
            covered.update(sets[code])
            selection.append(int(first_row_of_set[code]))
    return np.array(selection, np.int64)


def check_labels_vary(columns: Sequence[str], rows_of_label: Mapping[Label, int], rows: int) -> None:
    """Raise errors.DataError if each label applies to all rows of train or to none; `rows_of_label` counts its rows."""
    if all(count in (0, rows) for count in rows_of_label.values()):
        raise errors.DataError([target_errors.constant_labels(columns)])


def warn_of_constant_labels(rows_of_label: Mapping[Label, int], rows: int) -> list[str]:
    """Return warnings about labels that apply to no row of train, or to all."""
    absent = [label for label, count in rows_of_label.items() if not count]
    always = [label for label, count in rows_of_label.items() if count == rows]
    warnings = []
    if absent:
        which = "label" if len(absent) == 1 else "labels"
        warnings.append(
            f"Train has no row with {which} {quote_first(absent)}: the model cannot learn when to predict it."
        )
    if always:
        which = "label" if len(always) == 1 else "labels"
        warnings.append(
            f"Every row of train has {which} {quote_first(always)}: the model cannot learn when it is absent."
        )
    return warnings
