"""Label sets in one column of lists: the labels are the values of the lists, fitted on train."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.similar_values import warn_of_similar_values
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.targets.class_labels import ClassLabelScan, Label, LabelMap, canonical_label, label_array
from fusionzoo.data.targets.label_list_reading import ListedLabels, read_label_lists
from fusionzoo.data.targets.label_sets import (
    MAX_LABELS,
    MAX_LEAK_LABELS,
    MIN_LABELS,
    LabelSetReader,
    LabelSets,
    check_labels_vary,
    warn_of_constant_labels,
)
from fusionzoo.data.targets.target import NO_LABEL, TargetScan
from fusionzoo.errors import target_errors

Form = Literal["lists", "json", "separated"]


@dataclass(frozen=True)
class LabelLists(LabelSets):
    """The labels, and the form in which train has the lists: Arrow lists, JSON text, or text with a separator."""

    label_map: LabelMap
    separator: str | None = None
    form: Form = "lists"

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.label_map.name,)

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.label_map.classes

    @property
    def column_type(self) -> pa.DataType:
        return pa.list_(label_array(self.labels).type) if self.form == "lists" else pa.string()

    def encode(self, rows: Rows, optional: bool = False) -> np.ndarray:
        lists = read_label_lists(rows, self.label_map.name, self.separator, optional)
        encoded = np.zeros((len(rows), len(self.labels)), np.int8)
        encoded[lists.row_of_label, self.label_map.encode(lists.labels)] = 1
        encoded[lists.is_missing] = NO_LABEL
        return encoded

    def decode(self, encoded: np.ndarray) -> list[pa.Array]:
        is_set, is_missing = encoded == 1, (encoded == NO_LABEL).any(axis=1)
        labels = label_array(self.labels).take(pa.array(np.nonzero(is_set)[1]))
        ends = np.cumsum(is_set.sum(axis=1)).astype(np.int32)
        if self.form == "lists":
            offsets = pa.array(np.concatenate([[0], ends]), pa.int32(), mask=np.append(is_missing, False))
            return [pa.ListArray.from_arrays(offsets, labels)]
        values, starts = labels.to_pylist(), np.concatenate([[0], ends[:-1]])
        texts = [
            None if missing else self._write(values[start:end])
            for start, end, missing in zip(starts, ends, is_missing, strict=True)
        ]
        return [pa.array(texts, pa.string())]

    def _write(self, labels: Sequence[Label]) -> str:
        if self.form == "separated" and labels:
            return str(self.separator).join(str(label) for label in labels)
        return json.dumps(labels, ensure_ascii=False)

    def check(self, scan: LabelListScan, split: str) -> None:
        """Raise errors.DataError if the lists of a split have labels that were never seen in train; names rows."""
        self.label_map.check(scan.counts, split)

    def as_json(self) -> dict[str, Any]:
        return {**self.label_map.as_json(), "separator": self.separator, "form": self.form}


class LabelListScan(TargetScan):
    """The running fit: each label's count, first row and original value, and the form of the lists."""

    def __init__(self, settings: DataSettings, optional: bool) -> None:
        (self._name,), self._separator, self.optional = settings.label_columns, settings.label_separator, optional
        self.counts = ClassLabelScan(self._name)
        self._has_lists = self._is_separated = self._has_several = False

    def add(self, rows: Rows) -> Sequence[pa.Array]:
        lists = read_label_lists(rows, self._name, self._separator, self.optional)
        self.rows += len(rows)
        self._has_lists |= not lists.is_text
        self._is_separated |= lists.is_separated
        self._has_several |= len(lists.labels) > len(np.unique(lists.row_of_label))
        if not len(lists.labels):
            return [_group_labels(pa.array([], pa.string()), lists)]
        (canonical,) = self.counts.add(lists.labels)
        return [_group_labels(canonical, lists)]

    def fit(self, settings: DataSettings) -> LabelLists:
        counts = self.counts.counts
        if len(counts) > MAX_LABELS:
            raise errors.DataError([target_errors.too_many_labels(self._name, len(counts), MAX_LABELS)])
        classes = settings.classes
        expected = settings.num_classes or (len(counts) if classes is None else len(classes))
        labels = self.counts.choose_classes(classes, expected) if counts else ()
        if len(labels) < MIN_LABELS:
            raise errors.DataError([target_errors.too_few_labels([self._name], labels, self.rows)])
        label_map = LabelMap(self._name, labels)
        check_labels_vary([self._name], self._rows_of_label(label_map), self.rows)
        return LabelLists(label_map, self._separator, self._choose_form(labels))

    def warnings(self, target: LabelLists) -> list[str]:
        warnings = warn_of_constant_labels(self._rows_of_label(target.label_map), self.rows)
        warnings += warn_of_similar_values(self._name, "label", self.counts.counts)
        if not self._has_several:
            fix = "check label_separator" if self._is_separated else "check label_name"
            warnings.append(
                f"No row of train has two labels in column '{self._name}': {fix}, or set task: classification if each "
                "row has one class."
            )
        return warnings

    def _rows_of_label(self, label_map: LabelMap) -> dict[Label, int]:
        return {label: self.counts.counts.get(canonical_label(label), 0) for label in label_map.classes}

    def _choose_form(self, labels: Sequence[Label]) -> Form:
        if self._has_lists:
            return "lists"
        separator = self._separator or ""
        can_be_joined = all(separator not in str(label) and str(label) == str(label).strip() for label in labels)
        return "separated" if self._is_separated and can_be_joined else "json"


class LabelListReader(LabelSetReader):
    """The target of a multilabel classification with one column of lists."""

    labels_may_be_lists = True

    def scan(self, optional: bool) -> LabelListScan:
        return LabelListScan(self.settings, optional)

    def restore(self, saved: Mapping[str, Any]) -> LabelLists:
        return LabelLists(LabelMap(saved["name"], tuple(saved["classes"])), saved["separator"], saved["form"])

    def read_sets(self, rows: Rows, optional: bool) -> pa.Array:
        (name,) = self.settings.label_columns
        lists = read_label_lists(rows, name, self.settings.label_separator, optional)
        sets = _group_labels(canonicalize_column(lists.labels, name), lists).to_pylist()
        texts = [
            None if is_missing else json.dumps(sorted(labels))
            for labels, is_missing in zip(sets, lists.is_missing, strict=True)
        ]
        return pa.array(texts, pa.string())

    def leak_classes(self, labels: Sequence[pa.Array]) -> dict[str, np.ndarray]:
        (lists,) = labels
        row_of_label = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
        encoded = lists.flatten().dictionary_encode()
        rows_of_label = np.bincount(encoded.indices.to_numpy(), minlength=len(encoded.dictionary))
        codes = {}
        for k in np.argsort(-np.minimum(rows_of_label, len(lists) - rows_of_label), kind="stable")[:MAX_LEAK_LABELS]:
            is_set = np.zeros(len(lists), np.int64)
            is_set[row_of_label[encoded.indices.to_numpy() == k]] = 1
            codes[encoded.dictionary[int(k)].as_py()] = is_set
        return codes


def _group_labels(canonical: pa.Array, lists: ListedLabels) -> pa.Array:
    """Return the canonical labels of each row as an array of lists."""
    counts = np.bincount(lists.row_of_label, minlength=len(lists.is_missing))
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), canonical)
