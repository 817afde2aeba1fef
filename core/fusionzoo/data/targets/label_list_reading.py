"""Read a column of label lists: Arrow lists, JSON arrays, or text with a separator between labels."""

from __future__ import annotations

import ast
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.column_text import column_as_text, has_text_form
from fusionzoo.data.reading.json_objects import parse_json
from fusionzoo.data.reading.plain_values import array_from_values, json_list_type, json_texts
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.data.reading.value_kinds import describe_type
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.value_codes import values_to_codes
from fusionzoo.errors import target_errors


@dataclass(frozen=True)
class ListedLabels:
    """The labels of a block of rows, each row's labels once.

    Attributes:
        labels: one row for each label, in the column of the lists; it locates the row that has the label.
        row_of_label: [labels] int64, the index of the row in the block.
        is_missing: [rows] bool, whether a row has no list, which is not the same as an empty one.
        is_text: whether the lists are written as text.
        is_separated: whether a text was divided at the separator.
    """

    labels: Rows
    row_of_label: np.ndarray
    is_missing: np.ndarray
    is_text: bool
    is_separated: bool


@dataclass(frozen=True)
class _ParsedLists:
    values: pa.Array  # of all lists
    row_of_value: np.ndarray
    is_text: bool = False
    is_separated: bool = False


def read_label_lists(rows: Rows, column: str, separator: str | None, optional: bool) -> ListedLabels:
    """Return the labels of a column of lists.

    A text that is a JSON array, or a list as Python writes it, is a list. Other text is divided at the separator, and
    spaces around labels, and empty labels as in "a||b", are left out. A label that a list repeats counts once.

    Raises:
        errors.DataError: a value is not a list, a label in a list is empty, or a list is null and not optional; names
            rows.
    """
    values = rows.columns[column]
    is_missing = values.is_null().to_numpy(zero_copy_only=False)
    problems = ProblemLog()
    with problems.collect():
        if values.type == json_list_type():
            parsed = _parse_texts(rows, column, pa.array(json_texts(values), pa.string()), separator, is_json=True)
        elif describe_type(values.type) == "arrays":
            parsed = _read_arrow_lists(rows, column)
        else:
            text = column_as_text(rows, column)  # the empty text is null
            is_missing = text.is_null().to_numpy(zero_copy_only=False)
            parsed = _parse_texts(rows, column, text, separator, is_json=False)
    if is_missing.any() and not optional:
        missing = np.flatnonzero(is_missing)
        problem = target_errors.null_label_list(rows.source, column, len(missing), rows.locate_first(missing))
        problems.add(problem.out_of(len(rows), len(rows)))
    problems.raise_if_any()
    return _drop_repeated(rows, column, parsed, is_missing)


def _read_arrow_lists(rows: Rows, column: str) -> _ParsedLists:
    values = rows.columns[column]
    if not (pa.types.is_list(values.type) or pa.types.is_large_list(values.type)):  # of fixed size, or views
        values = pa.array(values.to_pylist(), pa.list_(values.type.value_type))
    lengths = pc.fill_null(pc.list_value_length(values), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    row_of_value = np.repeat(np.arange(len(values)), lengths)
    flat = to_plain_layout(values.flatten())
    if not has_text_form(flat.type):
        wrong = np.unique(row_of_value)
        _raise_invalid_elements(rows, column, wrong, values)
    is_empty = column_as_text(_locate(rows, column, flat, row_of_value), column).is_null()
    wrong = np.unique(row_of_value[is_empty.to_numpy(zero_copy_only=False)])
    if len(wrong):
        _raise_invalid_elements(rows, column, wrong, values)
    return _ParsedLists(flat, row_of_value)


def _parse_texts(rows: Rows, column: str, texts: pa.Array, separator: str | None, is_json: bool) -> _ParsedLists:
    """Parse lists that are text. If `is_json`, a text that is not a list itself is JSON too."""
    encoded = texts.dictionary_encode()
    distinct = [_parse(text, separator, is_json) for text in encoded.dictionary.to_pylist()]
    code_of_row = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False)
    unreadable = np.array([labels is None for labels, _ in distinct], bool)
    invalid = np.array([not all(map(_is_label, labels or ())) for labels, _ in distinct], bool)
    problems = ProblemLog()
    if unreadable.any():
        wrong = np.flatnonzero((code_of_row >= 0) & unreadable[code_of_row])
        problem = target_errors.not_a_label_list(rows.source, column, len(wrong), rows.examples(wrong, texts))
        problems.add(problem.out_of(len(texts) - texts.null_count, len(rows)))
    if invalid.any():
        with problems.collect():
            _raise_invalid_elements(rows, column, np.flatnonzero((code_of_row >= 0) & invalid[code_of_row]), texts)
    problems.raise_if_any()
    lists = [distinct[code][0] or [] if code >= 0 else [] for code in code_of_row.tolist()]
    row_of_value = np.repeat(np.arange(len(lists)), [len(labels) for labels in lists])
    flat = array_from_values([label for labels in lists for label in labels])
    return _ParsedLists(flat, row_of_value, not is_json, any(is_separated for _, is_separated in distinct))


def _parse(text: str, separator: str | None, is_json: bool) -> tuple[list[Any] | None, bool]:
    """Return the labels of a list, and whether they were separated; None if the text is not a list."""
    if is_json or text.lstrip().startswith("["):
        try:
            value = parse_json(text)
        except (ValueError, RecursionError):
            value = None
        value = _read_python_list(text) if value is None and not is_json else value
        if isinstance(value, list):
            return value, False
        text = value if is_json and isinstance(value, str) else text
    if separator is None:
        return None, False
    return [label for part in text.split(separator) if (label := part.strip())], True


def _read_python_list(text: str) -> list[Any] | None:
    """Return a list as Python and pandas write it to CSV, such as ['a', 'b']; None for other text."""
    text = text.strip()
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None
    return value if isinstance(value, list) and repr(value) == text else None  # not ['a' 'b'] of NumPy, which is ['ab']


def _is_label(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, bool | int) or (isinstance(value, str) and bool(value))


def _raise_invalid_elements(rows: Rows, column: str, wrong: np.ndarray, values: pa.Array) -> None:
    examples = rows.examples(wrong, values)
    raise errors.DataError([target_errors.empty_label_in_list(rows.source, column, len(wrong), examples)])


def _locate(rows: Rows, column: str, labels: pa.Array, row_of_label: np.ndarray, typed: bool = True) -> Rows:
    """Return the labels as rows that `Rows.locate` finds in the file."""
    offsets = np.arange(len(rows)) if rows.offsets is None else rows.offsets
    return Rows({column: labels}, rows.source, rows.first_row, typed, offsets[row_of_label])


def _drop_repeated(rows: Rows, column: str, parsed: _ParsedLists, is_missing: np.ndarray) -> ListedLabels:
    row_of_label = parsed.row_of_value
    labels = _locate(rows, column, parsed.values, row_of_label, typed=not parsed.is_separated)
    codes = values_to_codes(canonicalize_column(labels, column))
    first = np.unique(row_of_label * (int(codes.max(initial=0)) + 1) + codes, return_index=True)[1]
    if len(first) < len(codes):
        is_first = np.zeros(len(codes), bool)
        is_first[first] = True
        labels, row_of_label = labels.filter(is_first), row_of_label[is_first]
    return ListedLabels(labels, row_of_label, is_missing, parsed.is_text, parsed.is_separated)
