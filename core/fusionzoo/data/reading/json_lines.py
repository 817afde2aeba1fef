"""Read JSON Lines, or one JSON array of objects.

An absent key is a missing value; a column that no row has is a problem of the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fusionzoo import errors
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.json_array import is_json_array, parse_array
from fusionzoo.data.reading.limits import BlankLines
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.plain_values import array_from_values
from fusionzoo.data.reading.rows import Rows


def list_columns(file: PartFile, columns: Sequence[str]) -> list[str] | None:
    """Return the keys seen until all of `columns` were seen; None if the file has no rows."""
    names: dict[str, None] = {}
    has_rows = False
    for _, record in _parse_records(file):
        if not has_rows and _holds_all_rows(record, columns):
            raise errors.DataError([errors.json_not_rows(file.name)])
        has_rows = True
        names.update(dict.fromkeys(record))
        if all(column in names for column in columns):
            break
    return list(names) if has_rows else None


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` of the file in blocks.

    Raises:
        errors.DataError: a line is not a JSON object.
    """
    first_row = 1
    for block in group_into_blocks(_parse_records(file)):
        arrays = {column: array_from_values([record.get(column) for record in block]) for column in columns}
        yield Rows(arrays, file.name, first_row, typed=True)
        first_row += len(block)


def _holds_all_rows(record: dict[str, Any], columns: Sequence[str]) -> bool:
    """Return whether a record is a whole table of pandas' to_json(), with orient columns, index, split or table."""
    if len(record) > 1 and all(isinstance(value, dict) for value in record.values()):
        return True
    keys = record.keys() - {"index"}
    return keys in ({"columns", "data"}, {"schema", "data"}) and not record.keys() >= set(columns)


def _parse_records(file: PartFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each object with its length."""
    if not is_json_array(file):
        yield from _parse_lines(file)
        return
    for number, (length, record) in enumerate(parse_array(file), start=1):
        if not isinstance(record, dict):
            raise errors.DataError([errors.json_element_not_an_object(file.name, number)])
        yield length, record


def _parse_lines(file: PartFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line's object with the length of the line in bytes. Blank lines are skipped."""
    with file.open() as stream:
        limit, blank_lines = file.options.max_row_bytes, BlankLines(file.name)
        for number, line in enumerate(iter(lambda: stream.readline(limit + 1), b""), start=1):
            if len(line) > limit:
                raise errors.DataError([errors.row_too_long(f"{file.name} line {number}", limit)])
            is_blank = not line.strip()
            blank_lines.check(is_blank, number)
            if is_blank:
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except UnicodeDecodeError:
                raise
            except (ValueError, RecursionError) as cause:
                raise errors.DataError([errors.invalid_json_line(file.name, number, cause)]) from cause
            if not isinstance(record, dict):
                raise errors.DataError([errors.json_line_not_an_object(file.name, number)])
            yield len(line), record
