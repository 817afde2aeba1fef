"""Read JSON Lines, or one JSON array of objects.

An absent key is a missing value; a column that no row has is a problem of the file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from fusionzoo import errors
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.json_array import is_json_array, parse_array
from fusionzoo.data.reading.json_objects import RepeatedKeys, parse_json
from fusionzoo.data.reading.limits import BlankLines
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.plain_values import array_from_ids, array_from_values
from fusionzoo.data.reading.rows import Rows, rows_with_numbers

Element = tuple[int, dict[str, Any] | errors.Problem]
"""A row with its length in characters or bytes, or what is wrong with it."""


@dataclass(frozen=True)
class ParsedFile(PartFile):
    """A file in memory that has been parsed: every read returns `elements`, the result of `parse_elements`."""

    elements: tuple[Element, ...] = field(default=(), repr=False, compare=False)


def list_columns(file: PartFile, columns: Sequence[str]) -> list[str] | None:
    """Return the keys seen until all of `columns` were seen; None if the file has no rows."""
    names: dict[str, Any] = {}  # with values, because this is faster
    has_rows = False
    for _, (_, record) in islice(_parse_records(file.without_rejected_rows()), file.options.max_scanned_rows):
        if not has_rows and _holds_all_rows(record, columns):
            raise errors.DataError([errors.json_not_rows(file.name)])
        if not has_rows and (key := _find_array_of_rows(record, columns)) is not None:
            raise errors.DataError([errors.json_rows_in_array(file.name, key)])
        has_rows = True
        names.update(record)
        if all(column in names for column in columns):
            break
    return list(names) if has_rows else None


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` of the file in blocks.

    Raises:
        errors.DataError: a line is not a JSON object, or one of the columns occurs in it more than once.
    """
    ids = file.options.id_columns
    make_array = {column: array_from_ids if column in ids else array_from_values for column in columns}
    for block in group_into_blocks(_parse_records(file, columns)):
        arrays = {column: make_array[column]([record.get(column) for _, record in block]) for column in columns}
        yield rows_with_numbers(arrays, file.name, [number for number, _ in block], typed=True)


def _holds_all_rows(record: dict[str, Any], columns: Sequence[str]) -> bool:
    """Return whether a record is a whole table of pandas' to_json(), with orient columns, index, split or table."""
    if len(record) > 1 and all(isinstance(value, dict) for value in record.values()):
        return True
    if len(record) > 3:
        return False
    keys = record.keys() - {"index"}
    return keys in ({"columns", "data"}, {"schema", "data"}) and not record.keys() >= set(columns)


def _find_array_of_rows(record: dict[str, Any], columns: Sequence[str]) -> str | None:
    """Return the key of an array of objects in a record without any of the columns; None if it may be a row."""
    if not record.keys().isdisjoint(columns) or (len(record) > 1 and len(columns) < 2):
        return None
    arrays = (key for key, value in record.items() if isinstance(value, list) and value)
    return next((key for key in arrays if all(isinstance(element, dict) for element in record[key])), None)


def _parse_records(file: PartFile, columns: Sequence[str] = ()) -> Iterator[tuple[int, tuple[int, dict[str, Any]]]]:
    """Yield each object with its length and row number. None of the columns occurs in it more than once."""
    elements = file.elements if isinstance(file, ParsedFile) else parse_elements(file)
    reject, plain_columns = file.options.reject_row, file.options.plain_columns.intersection(columns)
    for number, (length, value) in enumerate(elements, start=1):
        column = value.find(columns) if columns and isinstance(value, RepeatedKeys) else None
        if column is not None:
            value = errors.json_key_repeated(file.name, number, column)
        if isinstance(value, errors.Problem):
            if reject is None:
                raise errors.DataError([value])
            reject(file.name, number, column or "", value.message)
        elif reject is not None and (nested := _find_nested(value, plain_columns)):
            reject(file.name, number, nested, f"an array or object instead of a plain value: {value[nested]!r:.80}")
        else:
            yield length, (number, value)


def _find_nested(record: dict[str, Any], columns: frozenset[str]) -> str | None:
    """Return the first of the columns that holds an array or object; None if there is none."""
    return next((name for name in columns if isinstance(record.get(name), dict | list)), None)


def parse_elements(file: PartFile) -> Iterator[Element]:
    """Yield each row of the file with its length, or the problem of a row that is not an object."""
    return check_objects(file, parse_array(file)) if is_json_array(file) else _parse_lines(file)


def check_objects(file: PartFile, elements: Iterable[tuple[int, Any]]) -> Iterator[Element]:
    """Yield each element of an array with its length; the problem of one that is not an object."""
    for number, (length, record) in enumerate(elements, start=1):
        if isinstance(record, dict):
            yield length, record
        else:
            yield length, errors.json_element_not_an_object(file.name, number)


def _parse_lines(file: PartFile) -> Iterator[Element]:
    """Yield each line's object with the length of the line in bytes, or its problem. Blank lines are skipped."""
    with file.open() as stream:
        limit, blank_lines = file.options.max_row_bytes, BlankLines(file.name)
        for number, line in enumerate(iter(lambda: stream.readline(limit + 1), b""), start=1):
            if len(line) > limit:
                raise errors.DataError([errors.row_too_long(f"{file.name} line {number}", limit)])
            is_blank = not line.strip()
            blank_lines.check(is_blank, number)
            if not is_blank:
                yield len(line), _parse_line(file, line, number)


def _parse_line(file: PartFile, line: bytes, number: int) -> dict[str, Any] | errors.Problem:
    """Return the object in a line, or the problem of the line.

    Raises:
        UnicodeDecodeError: the line is not UTF-8, and such rows are not rejected.
    """
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        record = parse_json(text)
    except UnicodeDecodeError as cause:
        if file.options.reject_row is None:
            raise
        return errors.text_not_utf8(f"{file.name} line {number}", cause)
    except (ValueError, RecursionError) as cause:
        return errors.invalid_json_line(file.name, number, cause)
    return record if isinstance(record, dict) else errors.json_line_not_an_object(file.name, number)
