"""Labels: strings or numbers to class indices, fitted on train, applied backwards at prediction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.data_settings import MAX_CLASSES, DataSettings
from fusionzoo.data.reading.channel import Rows, number_text
from fusionzoo.data.table.categories import FORMS, canonical_category

Label = bool | int | float | str


@dataclass(frozen=True)
class LabelMap:
    """The classes as they came, in the order of their indices."""

    name: str
    classes: tuple[Label, ...]

    def encode(self, rows: Rows) -> np.ndarray:
        """Class indices [rows] int64.

        Raises:
            errors.DataError: a label is null or was never seen in train; names rows.
        """
        text = canonical_category(rows, self.name)
        refuse_null(rows, self.name, text)
        index = pc.index_in(text, value_set=pa.array([label_key(label) for label in self.classes], pa.string()))
        unseen = np.flatnonzero(index.is_null().to_numpy(zero_copy_only=False))
        if len(unseen):
            examples = [(rows.row(int(i)), text[int(i)].as_py()) for i in unseen[:3]]
            raise errors.DataError([errors.labels_unseen(rows.source, self.name, len(unseen), examples, self.classes)])
        encoded: np.ndarray = index.to_numpy(zero_copy_only=False).astype(np.int64)
        return encoded

    def check(self, counts: LabelCounts, split: str) -> None:
        """Raises errors.DataError where the labels counted in a split were never seen in train; names rows."""
        unseen = counts.counts.keys() - {label_key(label) for label in self.classes}
        if unseen:
            examples = [(row, label) for label, row in counts.first_row.items() if label in unseen]
            number = sum(counts.counts[label] for label in unseen)
            raise errors.DataError([errors.labels_unseen(split, self.name, number, examples, self.classes)])


class LabelCounts:
    """The running fit: each label's count, first row, and value as it came."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.counts: dict[str, int] = {}
        self.first_row: dict[str, str] = {}
        self.values: dict[str, Label] = {}
        self.typed = True

    def add(self, rows: Rows) -> pa.Array:
        """Count a block's labels; returns them as canonical text.

        Raises:
            errors.DataError: a label is null; names rows.
        """
        text = canonical_category(rows, self.name)
        refuse_null(rows, self.name, text)
        refuse_infinite(rows, self.name)
        if len(self.counts) > MAX_CLASSES:
            return text  # `fit` refuses them, whatever follows
        self.typed &= rows.typed
        for entry in pc.value_counts(text).to_pylist():
            label, number = entry["values"], entry["counts"]
            if label not in self.counts:
                at = pc.index(text, label).as_py()
                self.first_row[label] = rows.row(at)
                self.values[label] = self._as_it_came(rows.columns[self.name][at], label)
            self.counts[label] = self.counts.get(label, 0) + number
        return text

    def _as_it_came(self, value: pa.Scalar, text: str) -> Label:
        if pa.types.is_floating(value.type):
            return float(text)  # 0.1 of 32 bits is 0.1, not 0.10000000149
        if pa.types.is_temporal(value.type):
            self.typed = False
            return text
        plain = value.as_py()
        if isinstance(plain, bool | int | float | str):
            return plain
        self.typed = False  # a decimal or a date
        return text

    def fit(self, settings: DataSettings) -> LabelMap:
        """The label map.

        Raises:
            errors.DataError: one class only, more labels than `num_classes`, or labels outside `classes`.
        """
        values = self.values if self.typed else _inferred(self.values)
        if len(values) < 2:
            raise errors.DataError([errors.one_class_only(self.name, self.counts)])
        if settings.classes is not None:
            classes: Sequence[Label] = [values.get(label_key(label), label) for label in settings.classes]
            if extra := [label for label in self.counts if label not in {label_key(c) for c in classes}]:
                raise errors.DataError(
                    [errors.labels_outside_classes(self.name, extra, self.first_row, settings.classes)]
                )
        else:
            classes = self._classes(values, settings.num_classes)
        return LabelMap(self.name, tuple(_of_one_type(classes)))

    def warnings(self, fitted: LabelMap) -> list[str]:
        """What a user should know of the classes."""
        absent = [label for label in fitted.classes if label_key(label) not in self.counts]
        return [errors.class_without_rows(self.name, absent)] if absent else []

    def _classes(self, values: Mapping[str, Label], num_classes: int) -> list[Label]:
        indices = {str(index): index for index in range(num_classes)}
        if all(type(value) is not bool and label in indices for label, value in values.items()):
            kind = type(next(iter(values.values())))
            return [values.get(label, kind(index)) for label, index in indices.items()]
        if len(values) != num_classes:
            raise errors.DataError(
                [errors.labels_against_num_classes(self.name, self.counts, self.first_row, num_classes)]
            )
        order = _inferred({label: label for label in values})  # "9" stands before "10", in every format
        numeric = all(not isinstance(place, str) for place in order.values())
        return sorted(
            values.values(), key=lambda value: float(order[label_key(value)]) if numeric else label_key(value)
        )


def label_key(label: Label) -> str:
    """A label's text, by which it is compared over formats: 1, 1.0, "1" and "1.0" are the same label."""
    text = str(number_text(label)) if isinstance(label, float) else str(label)
    for pattern, form in FORMS:
        text = re.sub(pattern, form, text)
    return text


def refuse_null(rows: Rows, name: str, text: pa.Array) -> None:
    """Raises errors.DataError where a label is null."""
    null = np.flatnonzero(text.is_null().to_numpy(zero_copy_only=False))
    if len(null):
        raise errors.DataError([errors.labels_null(rows.source, name, len(null), [rows.row(int(i)) for i in null[:3]])])


def refuse_infinite(rows: Rows, name: str) -> None:
    """Raises errors.DataError where a label is an infinite number."""
    values = rows.columns[name]
    if pa.types.is_floating(values.type):
        bad = np.flatnonzero(np.isinf(values.to_numpy(zero_copy_only=False)))
        if len(bad):
            raise errors.DataError(
                [errors.labels_infinite(rows.source, name, len(bad), [rows.row(int(i)) for i in bad[:3]])]
            )


def _inferred(values: Mapping[str, Label]) -> Mapping[str, Label]:
    """What labels that came as text (CSV) stand for: whole numbers, numbers, or text."""
    for kind in (int, float):
        try:
            read = {label: kind(label) for label in values}
        except ValueError:
            continue
        if all(label_key(value) == label and np.isfinite(value) for label, value in read.items()):
            return read
    return values


def _of_one_type(classes: Sequence[Label]) -> Sequence[Label]:
    """Labels that came in several types (one part file's are numbers, another's text) become floats or text."""
    kinds = {type(label) for label in classes}
    if kinds == {int, float}:
        return [float(label) for label in classes]
    return classes if len(kinds) == 1 else [label_key(label) for label in classes]
