"""Read CSV and TSV. Every value is text, so that "007" stays "007" and all part files of a channel agree.

This uses the `csv` module of Python: Arrow's reader accepts no row longer than its block, and does not report a quoted
text that never ends.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows

MAX_FIELD_LENGTH = 2**28  # characters of one value; a longer one is a quote that never ends


def list_columns(file: PartFile, _: Sequence[str]) -> list[str] | None:
    """Return the header; None if the file has zero bytes, which some writers produce when they have no rows."""
    for _line, header in _parse_lines(file):
        return header
    return None


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` of the file in blocks.

    Raises:
        errors.DataError: after all blocks, if rows have another number of values than the header has columns.
    """
    lines = _parse_lines(file)
    _line, header = next(lines, (1, list(columns)))
    wrong_width_count, examples = 0, list[tuple[int, int]]()

    def rows_of_right_width() -> Iterator[tuple[int, list[str]]]:
        nonlocal wrong_width_count
        for line, row in lines:
            if len(row) != len(header):
                wrong_width_count += 1
                if wrong_width_count <= errors.MAX_LISTED_PROBLEMS:
                    examples.append((line, len(row)))
            elif not wrong_width_count:
                yield sum(map(len, row)) + 8 * len(row), row

    first_row, positions = 1, {column: header.index(column) for column in columns}
    for block in group_into_blocks(rows_of_right_width()):
        arrays = {column: pa.array([row[i] for row in block], pa.string()) for column, i in positions.items()}
        yield Rows(arrays, file.name, first_row, typed=False)
        first_row += len(block)
    if wrong_width_count:
        raise errors.DataError(
            [errors.rows_with_wrong_column_count(file.name, len(header), wrong_width_count, examples)]
        )


def _parse_lines(file: PartFile) -> Iterator[tuple[int, list[str]]]:
    """Yield each row, the header first, with the line number where it begins. Blank lines are skipped."""
    csv.field_size_limit(MAX_FIELD_LENGTH)  # applies to the whole process; the default is 131,072 characters
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter="\t" if file.format == "tsv" else ",", strict=True)
        line = 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as cause:
            raise errors.DataError([errors.unterminated_quote(file.name, line, cause)]) from cause
