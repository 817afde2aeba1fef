"""Read CSV and TSV. Every value is text, so that "007" stays "007" and all part files of a channel agree.

This uses the `csv` module of Python: Arrow's reader accepts no row longer than its block, and does not report a quoted
text that never ends.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading import quoting
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.delimited_advice import advise_on_columns, advise_on_quotes
from fusionzoo.data.reading.limits import BlankLines
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows


@dataclass(frozen=True)
class Row:
    """The values of a row, and the first and last line of the file that it takes; lines start at 1."""

    values: list[str]
    first_line: int
    last_line: int


def list_columns(file: PartFile, _: Sequence[str]) -> list[str] | None:
    """Return the header; None if the file has zero bytes, which some writers produce when they have no rows."""
    first = next(_parse_rows(file, _header_quote(file)), None)
    return None if first is None else _name_columns(file, first.values)


def advise(file: PartFile, columns: Sequence[str]) -> str | None:
    """Return how to fix a header that lacks some of `columns`; None if nothing is known."""
    present = list_columns(file, columns)
    return None if present is None else advise_on_columns(file, present, columns, get_delimiter(file))


def read_rows(file: PartFile, columns: Sequence[str]) -> Iterator[Rows]:
    """Read `columns` of the file in blocks.

    Raises:
        errors.DataError: after all blocks, if rows have another number of values than the header has columns, or if a
            quoted value merges several rows.
    """
    quote, delimiter = _choose_quote(file), get_delimiter(file)
    rows = _parse_rows(file, quote)
    first = next(rows, None)
    if first is None:
        return
    header = _name_columns(file, first.values)
    has_spaces = any(name.startswith(" ") for name in header)
    wrong_width_count, examples = 0, list[tuple[int, int, int]]()

    def rows_of_right_width() -> Iterator[tuple[int, list[str]]]:
        nonlocal wrong_width_count
        for row in rows if file.options.header is True else _chain(first, rows):
            values = row.values
            if len(values) != len(header):
                wrong_width_count += 1
                if wrong_width_count <= errors.MAX_LISTED_PROBLEMS:
                    examples.append((row.first_line, row.last_line, len(values)))
            elif row.last_line > row.first_line and quoting.looks_merged(values, delimiter, has_spaces):
                problem = errors.merged_rows(file.name, row.first_line, row.last_line, len(header))
                raise errors.DataError([problem])
            elif not wrong_width_count:
                yield sum(map(len, values)) + 8 * len(values), values

    first_row, positions = 1, {column: header.index(column) for column in columns}
    restore = quoting.make_value_restorer(quote, file.options.escape, delimiter)
    for block in group_into_blocks(rows_of_right_width()):
        block = [restore(row) for row in block]
        arrays = {column: pa.array([row[i] for row in block], pa.string()) for column, i in positions.items()}
        yield Rows(arrays, file.name, first_row, typed=False)
        first_row += len(block)
    if wrong_width_count:
        advice = advise_on_quotes(file, quote)
        raise errors.DataError(
            [errors.rows_with_wrong_column_count(file.name, len(header), wrong_width_count, examples, advice)]
        )


def get_delimiter(file: PartFile) -> str:
    """Return the delimiter: always a tab in TSV, the setting in CSV."""
    return "\t" if file.format == "tsv" else file.options.delimiter


def _chain(first: Row, others: Iterator[Row]) -> Iterator[Row]:
    yield first
    yield from others


def _name_columns(file: PartFile, first_row: list[str]) -> list[str]:
    """Return the names of the columns. A column without a name is called as pandas calls it, such as "Unnamed: 0".

    Raises:
        errors.DataError: the names are given in `csv_header`, but the file has a header too.
    """
    header = file.options.header
    if header is True:
        return [name or f"Unnamed: {i}" for i, name in enumerate(first_row)]
    if header is False:
        return [str(i) for i in range(len(first_row))]
    if first_row == list(header):
        raise errors.DataError([errors.unexpected_header(file.name)])
    return list(header)


def _header_quote(file: PartFile) -> str:
    return quoting.QUOTE if file.options.quote is None else file.options.quote


def _choose_quote(file: PartFile) -> str:
    """Return the quote character, or "" if the file does not quote its values."""
    if file.options.quote is not None:
        return file.options.quote
    if file.format != "tsv" or file.options.escape is not None:
        return quoting.QUOTE
    with _open_text(file) as text:
        return quoting.detect_quote(_read_lines(file, text), get_delimiter(file), file.name)


@contextmanager
def _open_text(file: PartFile) -> Iterator[TextIO]:
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        yield text


def _read_lines(file: PartFile, text: TextIO) -> Iterator[str]:
    """Yield the lines, each of which is a row of its own."""
    lines = _Lines(file, text)
    for line in lines:
        lines.begin_row()
        yield line


class _Lines:
    """The lines of a file. A row that is longer than the limit is a problem."""

    def __init__(self, file: PartFile, text: TextIO) -> None:
        self._file, self._text = file, text
        self._row_line, self._row_length, self._line = 1, 0, 0
        self._blank_lines = BlankLines(file.name)

    def begin_row(self) -> int:
        """Return the number of the next line, which begins a row."""
        self._row_line, self._row_length = self._line + 1, 0
        return self._row_line

    def __iter__(self) -> Iterator[str]:
        limit = self._file.options.max_row_bytes
        while line := self._text.readline(limit + 1):
            self._line += 1
            self._row_length += len(line)
            if self._row_length > limit:
                raise errors.DataError([errors.row_too_long(f"{self._file.name} line {self._row_line}", limit)])
            self._blank_lines.check(line[0] in "\r\n", self._line)
            yield line


def _parse_rows(file: PartFile, quote: str) -> Iterator[Row]:
    """Yield each row, the header first. Blank lines are skipped."""
    csv.field_size_limit(2**31 - 1)  # applies to the whole process; `_Lines` has the limit of this file
    delimiter = get_delimiter(file)
    rewrite = quoting.make_line_rewriter(quote, file.options.escape, delimiter)
    with _open_text(file) as text:
        lines = _Lines(file, text)
        reader = csv.reader(
            map(rewrite, lines),
            delimiter=delimiter,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            strict=True,
        )
        line = 1
        try:
            for values in reader:
                if values:
                    yield Row(values, line, reader.line_num)
                line = lines.begin_row()
        except csv.Error as cause:
            advice = advise_on_quotes(file, quote)
            raise errors.DataError([errors.unterminated_quote(file.name, line, cause, advice)]) from cause
