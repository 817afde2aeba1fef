"""Read CSV and TSV. Every value is text, so that "007" stays "007" and all part files of a channel agree.

This uses the `csv` module of Python: Arrow's reader accepts no row longer than its block, and does not report a quoted
text that never ends.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain
from typing import TextIO

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading import quoting
from fusionzoo.data.reading.blocks import group_into_blocks
from fusionzoo.data.reading.delimited_advice import advise_on_columns, advise_on_quotes, advise_on_rows
from fusionzoo.data.reading.limits import BlankLines
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows, rows_with_numbers
from fusionzoo.errors.base import Advice
from fusionzoo.errors.wording import pluralize

MARK = "\ufeff"  # the byte order mark of a file
UNNAMED = "Unnamed: "  # and the number of a column without a name
_INVALID_BYTE = re.compile("[\udc80-\udcff]")  # as `surrogateescape` stores it


@dataclass(frozen=True)
class Row:
    """The values of a row, and the first and last line of the file that it takes; lines start at 1.

    `problem` says why the line cannot be parsed; empty if it can.
    """

    values: list[str]
    first_line: int
    last_line: int
    problem: str = ""


def list_columns(file: PartFile, _: Sequence[str]) -> list[str] | None:
    """Return the header; None if the file has zero bytes, which some writers produce when they have no rows."""
    return _parse_table(file, _header_quote(file))[0]


def advise(file: PartFile, columns: Sequence[str]) -> Advice | None:
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
    header, rows = _parse_table(file, quote)
    if header is None:
        return
    positions = {column: header.index(column) for column in columns}
    restore = quoting.make_value_restorer(quote, file.options.escape, delimiter)
    checker = _RowChecker(file, header)
    for block in group_into_blocks(checker.check(rows)):
        values = [restore(row) for _, row in block]
        arrays = {column: pa.array([row[i] for row in values], pa.string()) for column, i in positions.items()}
        yield rows_with_numbers(arrays, file.name, [number for number, _ in block], typed=False)
    checker.raise_if_any(quote)


class _RowChecker:
    """Checks that rows have the width of the header, and that no stray quote joins several of them."""

    def __init__(self, file: PartFile, header: Sequence[str]) -> None:
        self._file, self._header = file, header
        self._has_spaces = any(name.startswith(" ") for name in header)
        self._wrong_width_count, self._examples = 0, list[tuple[int, int, int]]()
        self._header_lines = list[int]()
        self._last_values: tuple[str, ...] = ()  # of a row that repeats the header, for a fast check of every row
        if len(header) > 1 and file.options.checks_first_row and not file.options.is_numbered:
            self._last_values = (header[-1], "") if header[-1].startswith(UNNAMED) else (header[-1],)

    def check(self, rows: Iterator[Row]) -> Iterator[tuple[int, tuple[int, list[str]]]]:
        """Yield the length, the number and the values of each row. After a row of another width, only count these."""
        reject = self._file.options.reject_row
        for number, row in enumerate(rows, start=1):
            if reason := self._find_reason(row):
                if reject is None:
                    self._add(row)
                else:
                    reject(self._file.name, number, "", f"line {row.first_line}: {reason}")
            elif not self._wrong_width_count:
                yield sum(map(len, row.values)) + 8 * len(row.values), (number, row.values)

    def raise_if_any(self, quote: str) -> None:
        """Raise errors.DataError if rows had another width, or repeated the header."""
        name, problems = self._file.name, list[errors.Problem]()
        if self._wrong_width_count:
            width = len(self._header)
            advice = advise_on_rows(self._file, width, get_delimiter(self._file)) or advise_on_quotes(self._file, quote)
            problems.append(
                errors.rows_with_wrong_column_count(name, width, self._wrong_width_count, self._examples, advice)
            )
        if self._header_lines:
            problems.append(errors.repeated_header(name, self._header_lines))
        if problems:
            raise errors.DataError(problems)

    def _find_reason(self, row: Row) -> str:
        """Return why a row cannot be used; "" if it can."""
        width = len(self._header)
        if row.problem:
            return row.problem
        if len(row.values) != width:
            return f"{pluralize(len(row.values), 'column')} instead of {width}"
        if row.last_line > row.first_line and quoting.looks_merged(
            row.values, get_delimiter(self._file), self._has_spaces
        ):
            return f"a quoted value joins the lines up to {row.last_line}"
        if row.values[-1] in self._last_values and self._repeats_header(row.values):
            return "it repeats the names of the columns"
        if self._file.options.reject_row is not None and any(map(_INVALID_BYTE.search, row.values)):
            return "the text is not UTF-8"
        return ""

    def _repeats_header(self, values: Sequence[str]) -> bool:
        """Return whether a row is the header again, perhaps with a byte order mark, as in files that were joined."""
        first = values[0].removeprefix(MARK).strip(quoting.QUOTE)
        return _is_name(first, self._header[0]) and all(map(_is_name, values[1:], self._header[1:]))

    def _add(self, row: Row) -> None:
        """Count a row of another width, or one that repeats the header.

        Raises:
            errors.DataError: the row has the right width, but joins several rows.
        """
        if len(row.values) == len(self._header):
            if row.values[-1] in self._last_values and self._repeats_header(row.values):
                self._header_lines.append(row.first_line)
                return
            raise errors.DataError(
                [errors.merged_rows(self._file.name, row.first_line, row.last_line, len(self._header))]
            )
        self._wrong_width_count += 1
        if self._wrong_width_count <= errors.MAX_LISTED_PROBLEMS:
            self._examples.append((row.first_line, row.last_line, len(row.values)))


def _is_name(value: str, name: str) -> bool:
    return value == name or (not value and name.startswith(UNNAMED))


def get_delimiter(file: PartFile) -> str:
    """Return the delimiter: always a tab in TSV, the setting in CSV."""
    return "\t" if file.format == "tsv" else file.options.delimiter


def _parse_table(file: PartFile, quote: str) -> tuple[list[str] | None, Iterator[Row]]:
    """Return the names of the columns and the rows; None and no rows if the file has neither.

    A blank line is a row only in a file of one column, where a missing value looks like that.
    """
    lines = _parse_lines(file, quote)
    blank_lines = []  # before the first line with values
    first = None
    for line in lines:
        if line.values or line.problem:
            first = line
            break
        blank_lines.append(line.first_line)
    if first is not None:
        header: list[str] | None = _name_columns(file, first.values)
    else:
        header = _name_blank_column(file) if blank_lines else None
    if file.options.header is True:
        return header, _select_rows(lines, header)
    leading = (Row([], number, number) for number in blank_lines)
    return header, _select_rows(chain(leading, () if first is None else (first,), lines), header)


def _name_blank_column(file: PartFile) -> list[str] | None:
    """Return the name of the only column of a file whose lines are all blank; None if it has several, or a header."""
    options = file.options
    if isinstance(options.header, bool) or (options.is_numbered and len(options.header) > 1):
        return None
    names = list(options.choose_names(1))
    return names if len(names) == 1 else None


def _select_rows(lines: Iterable[Row], header: Sequence[str] | None) -> Iterator[Row]:
    """Yield the lines that are rows of a file with these columns."""
    is_single = header is not None and len(header) == 1
    for line in lines:
        if line.values or line.problem:
            yield line
        elif is_single:
            yield replace(line, values=[""])


def _name_columns(file: PartFile, first_row: list[str]) -> list[str]:
    """Return the names of the columns. A column without a name is called as pandas calls it, such as "Unnamed: 0".

    Raises:
        errors.DataError: the names are given in `csv_header`, but the file has a header too.
    """
    options = file.options
    if options.header is True:
        return [name or f"{UNNAMED}{i}" for i, name in enumerate(first_row)]
    names = list(options.choose_names(len(first_row)))
    if options.checks_first_row and not options.is_numbered and sorted(first_row) == sorted(names):
        raise errors.DataError([errors.unexpected_header(file.name)])
    return names


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
    on_invalid_byte = "strict" if file.options.reject_row is None else "surrogateescape"
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig", on_invalid_byte, newline="") as text:
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


def _parse_lines(file: PartFile, quote: str) -> Iterator[Row]:
    """Yield each row, the header first. A blank line has no values.

    Raises:
        errors.DataError: several lines cannot be parsed, or the line that says which columns there are, or a row, if
            such rows are not rejected.
    """
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
        line, gives_columns = 1, file.options.header is True or file.options.is_numbered
        while True:
            try:
                values = next(reader)
            except StopIteration:
                return
            except csv.Error as cause:
                can_be_left_out = not gives_columns and reader.line_num == line  # lost lines may be rows
                if file.options.reject_row is None or not can_be_left_out:
                    advice = advise_on_quotes(file, quote)
                    raise errors.DataError([errors.unterminated_quote(file.name, line, cause, advice)]) from cause
                yield Row([], line, line, f"a quoted text does not end correctly ({cause})")
            else:
                gives_columns = gives_columns and not values
                yield Row(values, line, reader.line_num)
            line = lines.begin_row()
