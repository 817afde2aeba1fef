"""Read JSON Lines. An absent key is a missing value; a column that no line has is a problem of the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from fusionzoo import errors
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.plain_values import array_from_values
from fusionzoo.data.reading.rows import Rows


def list_columns(file: PartFile, columns: Sequence[str]) -> list[str] | None:
    """Return the keys seen until all of `columns` were seen; None if the file has no rows."""
    names: dict[str, None] = {}
    has_rows = False
    for _, record in _parse_lines(file):
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
    for block in group_into_blocks(_parse_lines(file)):
        arrays = {column: array_from_values([record.get(column) for record in block]) for column in columns}
        yield Rows(arrays, file.name, first_row, typed=True)
        first_row += len(block)


def _parse_lines(file: PartFile) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line's object with the length of the line in bytes. Blank lines are skipped."""
    with file.open() as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
            except (ValueError, RecursionError) as cause:
                raise errors.DataError([errors.invalid_json_line(file.name, number, cause)]) from cause
            if not isinstance(record, dict):
                raise errors.DataError([errors.json_line_not_an_object(file.name, number)])
            yield len(line), record
