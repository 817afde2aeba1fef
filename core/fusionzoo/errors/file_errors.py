"""Problems of the format of a file: its dialect, quotes, bytes and size."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import Problem
from fusionzoo.errors.wording import list_names, pluralize


def merged_rows(name: str, first_line: int, last_line: int, columns: int) -> Problem:
    """A quote that was never meant as one would join several rows into one value."""
    message = (
        f"a quoted value begins in line {first_line} and ends in line {last_line}, and each of these lines would be a "
        f"row of {columns} columns without it"
    )
    fix = (
        'if quotes are ordinary characters in the file, set csv_quote to ""; otherwise double the stray quote, or '
        "write the data as Parquet or JSON Lines"
    )
    return Problem(name, message, fix, "FZ-D201")


def ambiguous_quotes(name: str, first_line: int, second_line: int) -> Problem:
    """A TSV file has values in quotes, and it is not clear whether the quotes belong to the values."""
    message = (
        f"line {second_line} uses quotes to enclose a value, but in line {first_line} the quotes may belong to the "
        "value"
    )
    fix = 'set csv_quote to "\\"" if quotes enclose values, or to "" if they are ordinary characters'
    return Problem(name, message, fix, "FZ-D202")


def unexpected_header(name: str) -> Problem:
    """The setting `csv_header` gives the column names, but the file has a header line with the same names."""
    message = "the first line is a header, but csv_header gives the column names as if there was none"
    return Problem(name, message, "remove csv_header", "FZ-D203")


def header_does_not_fit(name: str, missing: Sequence[str], present: Sequence[str], advice: str) -> Problem:
    """A delimited file lacks columns because its delimiter, header or encoding is another one."""
    lacking = f"{pluralize(len(missing), 'column')} ({list_names(missing)})"
    message = f"the first line lacks {lacking}; it has {list_names(present)}"
    return Problem(name, message, advice, "FZ-D204")
