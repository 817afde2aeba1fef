"""Label sets in several columns: one of 0 and 1, or of true and false, for each label."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.canonical_text import canonical_text, canonicalize_texts
from fusionzoo.data.reading.column_text import column_as_text, has_text_form, values_as_text
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import wrong_type
from fusionzoo.data.targets.class_labels import Label
from fusionzoo.data.targets.label_sets import (
    MAX_LEAK_LABELS,
    LabelSetReader,
    LabelSets,
    check_labels_vary,
    warn_of_constant_labels,
)
from fusionzoo.data.targets.target import NO_LABEL, TargetScan
from fusionzoo.errors import target_errors

PLAIN_TYPES = MappingProxyType({bool: pa.types.is_boolean, int: pa.types.is_integer, float: pa.types.is_floating})
INDICATORS = MappingProxyType({"0": 0, "1": 1, "False": 0, "True": 1})  # by canonical text
OTHER_VALUE = -2  # neither 0, 1, true nor false


@dataclass(frozen=True)
class LabelIndicators(LabelSets):
    """The columns, and the two values of train that say whether a label applies: first of a label that does not."""

    names: tuple[str, ...]
    values: tuple[Label, Label] = (0, 1)

    @property
    def columns(self) -> tuple[str, ...]:
        return self.names

    @property
    def labels(self) -> tuple[Label, ...]:
        return self.names

    @property
    def column_type(self) -> pa.DataType:
        return pa.array(self.values).type

    def encode(self, rows: Rows, optional: bool = False) -> np.ndarray:
        return read_indicators(rows, self.names, optional)

    def decode(self, encoded: np.ndarray) -> list[pa.Array]:
        values = pa.array(self.values)
        return [values.take(pa.array(column, pa.int8(), mask=column == NO_LABEL)) for column in encoded.T]

    def check(self, scan: Any, split: str) -> None:
        """Do nothing: the scan has checked that the values are 0 or 1."""

    def as_json(self) -> dict[str, Any]:
        return {"names": list(self.names), "values": list(self.values)}


class LabelIndicatorScan(TargetScan):
    """The running fit: the rows that each label applies to, and how the values are spelled."""

    def __init__(self, settings: DataSettings, optional: bool) -> None:
        self._names, self.optional = settings.label_columns, optional
        self._present = np.zeros(len(self._names), np.int64)
        self._spellings: set[tuple[type, str]] = set()

    def add(self, rows: Rows) -> Sequence[pa.Array]:
        indicators = read_indicators(rows, self._names, self.optional)
        self.rows += len(rows)
        self._present += (indicators == 1).sum(axis=0)
        for name in self._names:
            self._spellings.update(_find_spellings(rows.columns[name]))
        return [pa.array(column) for column in np.ascontiguousarray(indicators.T)]

    def fit(self, settings: DataSettings) -> LabelIndicators:
        check_labels_vary(self._names, self._rows_of_label(), self.rows)
        return LabelIndicators(tuple(self._names), choose_values(self._spellings))

    def warnings(self, target: LabelIndicators) -> list[str]:
        return warn_of_constant_labels(self._rows_of_label(), self.rows)

    def _rows_of_label(self) -> dict[Label, int]:
        return dict(zip(self._names, self._present.tolist(), strict=True))


class LabelIndicatorReader(LabelSetReader):
    """The target of a multilabel classification with one column for each label."""

    def scan(self, optional: bool) -> LabelIndicatorScan:
        return LabelIndicatorScan(self.settings, optional)

    def restore(self, saved: Mapping[str, Any]) -> LabelIndicators:
        absent, present = saved["values"]
        return LabelIndicators(tuple(saved["names"]), (absent, present))

    def read_sets(self, rows: Rows, optional: bool) -> pa.Array:
        names = sorted(self.settings.label_columns)
        indicators = read_indicators(rows, names, optional)
        packed, set_of_row = np.unique(np.packbits(indicators == 1, axis=1), axis=0, return_inverse=True)
        sets = np.unpackbits(packed, axis=1, count=len(names))
        texts = pa.array([json.dumps([names[k] for k in np.flatnonzero(row)]) for row in sets], pa.string())
        is_missing = (indicators == NO_LABEL).any(axis=1)
        return texts.take(pa.array(set_of_row.reshape(-1), mask=is_missing))

    def leak_classes(self, labels: Sequence[pa.Array]) -> dict[str, np.ndarray]:
        names = self.settings.label_columns
        codes = [(column.to_numpy() == 1).astype(np.int64) for column in labels]
        minority = [min(int(code.sum()), len(code) - int(code.sum())) for code in codes]
        selected = sorted(range(len(names)), key=lambda k: -minority[k])[:MAX_LEAK_LABELS]
        return {names[k]: codes[k] for k in selected}


def read_indicators(rows: Rows, names: Sequence[str], optional: bool) -> np.ndarray:
    """Return columns of 0, 1, true and false as [rows, columns] int8; `NO_LABEL` where an optional value is null.

    Raises:
        errors.DataError: there is another value, or null where labels are not optional; names rows.
    """
    encoded, problems = np.empty((len(rows), len(names)), np.int8), ProblemLog()
    for position, name in enumerate(names):
        with problems.collect():
            encoded[:, position] = _read_indicator(rows, name, optional)
    problems.raise_if_any()
    return encoded


def _read_indicator(rows: Rows, name: str, optional: bool) -> np.ndarray:
    """Return one column, [rows] int8. Only its distinct values are converted to text, because there are few."""
    values = rows.columns[name]
    if not has_text_form(values.type):
        raise errors.DataError([wrong_type(rows, name, "text or plain values")])
    is_extension = isinstance(values.type, pa.BaseExtensionType)  # Arrow does not compare their values
    encoded = (values_as_text(values) if is_extension else values).dictionary_encode()
    distinct = column_as_text(Rows({name: encoded.dictionary}, rows.source, rows.first_row, rows.typed), name)
    canonical = canonicalize_texts(pc.utf8_trim_whitespace(distinct)).to_pylist()
    codes = [NO_LABEL if text is None else INDICATORS.get(text, OTHER_VALUE) for text in canonical]
    column: np.ndarray = np.array([*codes, NO_LABEL], np.int8)[
        pc.fill_null(encoded.indices, len(codes)).to_numpy(zero_copy_only=False)
    ]
    problems, null = ProblemLog(), np.flatnonzero(column == NO_LABEL)
    if len(wrong := np.flatnonzero(column == OTHER_VALUE)):
        examples = rows.examples(wrong, distinct.take(encoded.indices))
        problem = target_errors.label_not_boolean(rows.source, name, len(wrong), examples)
        problems.add(problem.out_of(len(rows) - len(null), len(rows)))
    if len(null) and not optional:
        problem = target_errors.null_label_value(rows.source, name, len(null), rows.locate_first(null))
        problems.add(problem.out_of(len(rows), len(rows)))
    problems.raise_if_any()
    return column


def _find_spellings(values: pa.Array) -> set[tuple[type, str]]:
    """Return the types and texts with which a column writes that a label applies or not."""
    for label_type, is_type in PLAIN_TYPES.items():
        if is_type(values.type):
            return {(label_type, "")}
    texts = values if pa.types.is_string(values.type) else values.cast(pa.string())
    return {(str, text) for text in pc.unique(pc.utf8_trim_whitespace(texts.drop_null())).to_pylist() if text}


def choose_values(spellings: set[tuple[type, str]]) -> tuple[Label, Label]:
    """Return the one pair of values that a data set uses; 0 and 1 if it uses several, such as 1 and True."""
    types = {label_type for label_type, _ in spellings}
    if types == {bool}:
        return (False, True)
    if types == {float}:
        return (0.0, 1.0)
    if types == {str}:
        texts = sorted(text for _, text in spellings)
        absent, present = ([text for text in texts if INDICATORS.get(canonical_text(text)) == k] for k in (0, 1))
        if set(texts) <= {"0.0", "1.0"}:
            return (0.0, 1.0)
        if not set(texts) <= {"0", "1"} and len(absent) == len(present) == 1:
            return (absent[0], present[0])
    return (0, 1)
