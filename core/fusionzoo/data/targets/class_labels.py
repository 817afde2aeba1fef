"""Labels: from label values to class indices, fitted on train, and back to the original values at prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.data_settings import MAX_CLASSES, DataSettings
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.canonical_text import canonical_text
from fusionzoo.data.reading.column_text import values_as_text
from fusionzoo.data.reading.number_text import format_number
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import describe_type, wrong_type
from fusionzoo.data.similar_values import warn_of_similar_values
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.targets.target import NO_LABEL, Strata, Target, TargetReader, TargetScan
from fusionzoo.data.value_codes import ValueCodes, values_to_codes
from fusionzoo.errors import target_errors
from fusionzoo.errors.value_problems import RowPlace

Label = bool | int | float | str
MIN_DISTINCT_NUMBERS = 50  # that are probably not classes, but numbers to predict


@dataclass(frozen=True)
class LabelMap(Target):
    """The classes as they were read, in the order of their indices.

    `is_ordered` says whether this order has a meaning: the classes are numbers, or the setting `classes` lists them.
    """

    name: str
    classes: tuple[Label, ...]
    is_ordered: bool = False

    @property
    def num_outputs(self) -> int:
        return len(self.classes)

    @property
    def output_names(self) -> Sequence[str]:
        return [canonical_label(label) for label in self.classes]

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "classes": self.classes}

    def encode(self, rows: Rows, optional: bool = False) -> np.ndarray:
        """Return class indices, [rows] int64; `NO_LABEL` where `optional` labels are null.

        Raises:
            errors.DataError: a label was never seen in train, or is null and not optional; names rows.
        """
        text, problems = canonicalize_labels(rows, self.name), ProblemLog()
        if not optional:
            with problems.collect():
                check_labels_not_null(rows, self.name, text)
        index = pc.index_in(text, value_set=pa.array([canonical_label(label) for label in self.classes], pa.string()))
        unseen = np.flatnonzero(pc.and_(index.is_null(), text.is_valid()).to_numpy(zero_copy_only=False))
        if len(unseen):
            examples = rows.examples(unseen, text)
            problems.add(errors.unseen_labels(rows.source, self.name, len(unseen), examples, self.classes))
        problems.raise_if_any()
        encoded: np.ndarray = pc.fill_null(index, NO_LABEL).to_numpy(zero_copy_only=False).astype(np.int64)
        return encoded

    def check(self, scan: ClassLabelScan, split: str) -> None:
        """Raise errors.DataError if labels counted in a split were never seen in train; names rows."""
        unseen = scan.counts.keys() - {canonical_label(label) for label in self.classes}
        if unseen:
            examples = [(row, label) for label, row in scan.first_row.items() if label in unseen]
            unseen_count = sum(scan.counts[label] for label in unseen)
            raise errors.DataError([errors.unseen_labels(split, self.name, unseen_count, examples, self.classes)])


class ClassLabelScan(TargetScan):
    """The running fit of the label column: each label's count, first row, and original value.

    `optional` says whether rows may have no label.
    """

    def __init__(self, name: str, optional: bool = False) -> None:
        self.name, self.optional = name, optional
        self.counts: dict[str, int] = {}
        self.first_row: dict[str, RowPlace] = {}
        self.values: dict[str, Label] = {}
        self.typed = True

    @property
    def is_empty(self) -> bool:
        return not self.counts

    def add(self, rows: Rows) -> Sequence[pa.Array]:
        """Count the labels of a block and return them as canonical text.

        Raises:
            errors.DataError: a label is null and not optional; names rows.
        """
        text = canonicalize_labels(rows, self.name)
        self.rows += len(rows)
        if len(self.counts) <= MAX_CLASSES:  # otherwise, `fit` raises an error anyway
            self._count(rows, text)
        if not self.optional:
            check_labels_not_null(rows, self.name, text)
        return [text]

    def _count(self, rows: Rows, text: pa.Array) -> None:
        self.typed &= rows.typed
        for entry in pc.value_counts(text.drop_null()).to_pylist():
            label, count = entry["values"], entry["counts"]
            if label not in self.counts:
                index = pc.index(text, label).as_py()
                self.first_row[label] = rows.locate(index)
                self.values[label] = self._to_python(rows.columns[self.name].slice(index, 1), label)
            self.counts[label] = self.counts.get(label, 0) + count

    def _to_python(self, array: pa.Array, text: str) -> Label:
        """Return the single value in a type that a `Label` can have; otherwise its text, and the column is untyped."""
        if pa.types.is_floating(array.type):
            return float(text)  # a float32 of 0.1 is 0.1, not 0.10000000149
        if not pa.types.is_temporal(array.type) and not pa.types.is_decimal(array.type):
            plain = array[0].as_py()
            if isinstance(plain, bool | int | float | str):
                return plain
        self.typed = False
        label_text: str = values_as_text(array)[0].as_py()
        return label_text

    def fit(self, settings: DataSettings) -> LabelMap:
        """Return the label map.

        Raises:
            errors.DataError: labels are infinite numbers, there is only one class, or see `choose_classes`.
        """
        self._check_finite()
        if len(self.counts) < 2:
            raise errors.DataError([errors.single_class(self.name, self.counts)])
        classes = self.choose_classes(settings.classes, _count_classes(settings))
        return _make_label_map(self.name, classes, settings)

    def _check_finite(self) -> None:
        """Raise errors.DataError if labels are infinite numbers; a text `inf` among other texts is a class."""
        floats = _parse_floats(self.counts)
        if self.typed:
            floats = {label: value for label, value in self.values.items() if isinstance(value, float)}
        infinite = [label for label, value in floats.items() if np.isinf(value) and not label.lstrip("-").isdecimal()]
        if infinite:
            count = sum(self.counts[label] for label in infinite)
            places = [self.first_row[label] for label in infinite]
            raise errors.DataError([errors.infinite_labels(self.name, count, places)])

    def choose_classes(self, listed: Sequence[Label] | None, num_classes: int) -> tuple[Label, ...]:
        """Return the classes in the order of their indices, as they were read: those of `listed`, or the sorted labels.

        Raises:
            errors.DataError: the number of labels is not `num_classes`, or there are labels that are not in `listed`.
        """
        values = self.values if self.typed else _infer_types(self.values)
        if listed is not None:
            classes: Sequence[Label] = [values.get(canonical_label(label), label) for label in listed]
            allowed = {canonical_label(label) for label in classes}
            if extra := [label for label in self.counts if label not in allowed]:
                raise errors.DataError([errors.labels_outside_classes(self.name, extra, self.first_row, listed)])
        else:
            classes = self._sort_classes(values, num_classes)
        return tuple(_unify_types(classes))

    def warnings(self, target: LabelMap) -> list[str]:
        """Return warnings about the fitted classes."""
        warnings = warn_of_similar_values(self.name, "class", self.counts)
        absent = [label for label in target.classes if canonical_label(label) not in self.counts]
        if absent:
            names = ", ".join(f"'{label}'" for label in absent)
            warnings.append(f"Train has no row with {self.name} = {names}: the model cannot learn this class.")
        return warnings

    def _sort_classes(self, values: Mapping[str, Label], num_classes: int) -> list[Label]:
        indices = {str(index): index for index in range(num_classes)}
        if all(type(value) is not bool and label in indices for label, value in values.items()):
            label_type = type(next(iter(values.values())))
            return [values.get(label, label_type(index)) for label, index in indices.items()]
        numbers = _parse_numbers({label: label for label in values})  # "9" sorts before "10" in every format
        if len(values) != num_classes:
            problem = errors.labels_contradict_num_classes(self.name, self.counts, self.first_row, num_classes)
            if numbers is not None and len(values) >= MIN_DISTINCT_NUMBERS:
                problem = target_errors.numbers_as_classes(self.name, len(values), self.first_row, num_classes)
            if all(label.startswith("[") and label.endswith("]") for label in values):
                problem = target_errors.text_lists_as_classes(self.name, self.first_row)
            raise errors.DataError([problem])
        order = sorted(values) if numbers is None else sorted(values, key=numbers.__getitem__)
        return [values[label] for label in order]


def _make_label_map(name: str, classes: Sequence[Label], settings: DataSettings) -> LabelMap:
    are_numbers = _parse_numbers({canonical_label(label): label for label in classes}) is not None
    return LabelMap(name, tuple(classes), is_ordered=are_numbers or settings.classes is not None)


def _count_classes(settings: DataSettings) -> int:
    if settings.num_classes is None:
        raise ValueError("a classification needs num_classes")
    return settings.num_classes


class ClassLabelReader(TargetReader):
    """The target of a classification: one column whose values are classes."""

    leak_class = "class"

    @property
    def num_expected_outputs(self) -> int:
        return _count_classes(self.settings)

    @property
    def _name(self) -> str:
        return self.settings.label_columns[0]

    def scan(self, optional: bool) -> ClassLabelScan:
        return ClassLabelScan(self._name, optional)

    def restore(self, saved: Mapping[str, Any]) -> LabelMap:
        return _make_label_map(saved["name"], saved["classes"], self.settings)

    def strata(self) -> Strata:
        return ClassStrata(self._name)

    def texts(self, rows: Rows) -> list[pa.Array]:
        return [canonicalize_column(rows, self._name)]

    def leak_classes(self, labels: Sequence[pa.Array]) -> dict[str, np.ndarray]:
        return {self._name: values_to_codes(labels[0])}


class ClassStrata(Strata):
    """The classes of the rows of a channel."""

    def __init__(self, name: str) -> None:
        self.name, self.columns, self._codes = name, [name], ValueCodes()

    def add(self, rows: Rows) -> None:
        text = canonicalize_labels(rows, self.name)
        check_labels_not_null(rows, self.name, text)
        self._codes.add(text)

    def codes(self) -> NDArray[np.int32]:
        return self._codes.codes()


def canonical_label(label: Label) -> str:
    """Return the text by which labels are compared: 1, 1.0, "1" and "1.0" are the same label."""
    return canonical_text(str(format_number(label)) if isinstance(label, float) else str(label))


def canonicalize_labels(rows: Rows, name: str) -> pa.Array:
    """Return the labels of a column as text that is the same for every type and file format; null where missing.

    Raises:
        errors.DataError: the values are nested.
    """
    if describe_type(rows.columns[name].type) == "arrays":
        problem = wrong_type(rows, name, "text or plain values")
        raise errors.DataError([target_errors.column_of_lists(problem)])
    return canonicalize_column(rows, name)


def check_labels_not_null(rows: Rows, name: str, text: pa.Array) -> None:
    """Raise errors.DataError if a label is null."""
    null = np.flatnonzero(text.is_null().to_numpy(zero_copy_only=False))
    if len(null):
        problem = errors.null_labels(rows.source, name, len(null), rows.locate_first(null))
        raise errors.DataError([problem.out_of(len(rows), len(rows))])


def _parse_floats(labels: Iterable[str]) -> Mapping[str, float]:
    """Return the value of each label; nothing if one of them is not a number."""
    try:
        return {label: float(label) for label in labels}
    except ValueError:
        return {}


def _infer_types(values: Mapping[str, Label]) -> Mapping[str, Label]:
    """Return labels that were read as text (CSV) as integers or floats if that keeps the spelling of all of them."""
    numbers = _parse_numbers(values)
    if numbers is None or any(str(number) != str(values[label]) for label, number in numbers.items()):
        return values
    return {label: number + 0 for label, number in numbers.items()}  # no negative zero


def _parse_numbers(values: Mapping[str, Label]) -> Mapping[str, int | float] | None:
    """Return the values as integers, or else as floats, by label; None if one of them is not a finite number."""
    for number_type in (int, float):
        try:
            numbers = {label: number_type(str(value)) for label, value in values.items()}
        except ValueError:
            continue
        is_finite = all(isinstance(number, int) or np.isfinite(number) for number in numbers.values())
        if is_finite and all(canonical_label(number) == label for label, number in numbers.items()):
            return numbers
    return None


def _unify_types(classes: Sequence[Label]) -> Sequence[Label]:
    """Return labels that one Arrow type holds without loss: one type, or numbers as floats, or otherwise text."""
    types = {type(label) for label in classes}
    texts = [canonical_label(label) for label in classes]
    if types == {int}:
        return texts if pa.types.is_string(label_array(classes).type) else classes
    if types == {int, float}:
        floats = [float(text) for text in texts]
        return floats if [canonical_label(number) for number in floats] == texts else texts
    return classes if len(types) == 1 else texts


def label_array(labels: Sequence[Label]) -> pa.Array:
    """Return labels as an Arrow array. Integers beyond int64 are uint64 if all of them fit, otherwise text.

    Raises:
        pa.ArrowException: the labels have several types.
    """
    integers = [label for label in labels if type(label) is int]
    if len(integers) < len(labels) or all(-(2**63) <= label < 2**63 for label in integers):
        return pa.array(labels)
    if all(0 <= label < 2**64 for label in integers):
        return pa.array(labels, pa.uint64())
    return pa.array([canonical_label(label) for label in labels], pa.string())
