"""What to change if the header or the quotes of a delimited file do not fit the settings."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from types import MappingProxyType

from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.base import Advice
from fusionzoo.errors.wording import cut, list_names, pluralize

DELIMITER_NAMES = MappingProxyType(
    {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe", "\x01": "control character of Hive"}
)
DELIMITERS = tuple(DELIMITER_NAMES)
MAX_LISTED_LENGTH = 150  # of the names of columns
HEADER_SAMPLE_LENGTH = 2**16  # bytes that are searched for a header below the first line
MAX_LINES_ABOVE = 20
SAMPLE_LENGTH = 2**20  # bytes that are searched for escaped quotes
NUMBER = re.compile(r"\s*[+-]?[0-9]+([.,][0-9]+)?\s*")
ESCAPED_QUOTE = re.compile(rb'(?<!\\)\\"')


def advise_on_columns(file: PartFile, present: Sequence[str], columns: Sequence[str], delimiter: str) -> Advice | None:
    """Return how to fix a header that lacks some of `columns`; None if the header itself gives no reason."""
    if advice := _advise_on_lines_above(file, columns, delimiter):
        return advice
    matching = set(present) & set(columns)
    line = delimiter.join(present)
    for other in DELIMITERS:
        cells = {name.strip('"') for name in line.split(other)}
        if other != delimiter and len(cells & set(columns)) > max(1, len(matching)):
            return _advise_delimiter(file, other)
    if len(matching) < len({name.strip(" \"'") for name in present} & set(columns)):
        fix = "remove the quotes and spaces around the column names"
        return Advice(f"{fix}, or check csv_quote", fix)
    if any("\0" in name for name in present):
        return _for_both("the file looks like UTF-16: save it as UTF-8")
    similar = {name.lower().strip() for name in present} & {column.lower() for column in columns}
    is_wide_enough = len(present) >= len(columns)  # a narrower line is no row of data, either
    if is_wide_enough and not matching and (_looks_like_data(present) or (len(columns) > 2 and not similar)):
        example = json.dumps(list(columns)[:3], ensure_ascii=False)[:-1]
        names = pluralize(len(present), "column name")
        return Advice(
            f"if the first line is a row of data, set csv_header to the list of the {names}, such as {example}, ...]; "
            "otherwise use the names of the first line in the settings",
            f"if the first line is a row of data, write the {names} above it; otherwise rename the columns to those of "
            f"the model: {list_names(columns, MAX_LISTED_LENGTH)}",
        )
    return None


def _for_both(fix: str) -> Advice:
    return Advice(fix, fix)


def _advise_on_lines_above(file: PartFile, columns: Sequence[str], delimiter: str) -> Advice | None:
    """Return that lines above the header, such as a comment or Excel's `sep=;`, have to go; None without such lines."""
    with file.open() as stream:
        lines = stream.read(HEADER_SAMPLE_LENGTH).decode("utf-8-sig", "replace").splitlines()
    for number, line in enumerate(lines[1 : MAX_LINES_ABOVE + 1], start=1):
        for other in dict.fromkeys((delimiter, *DELIMITERS)):
            if set(columns) <= {name.strip(" \"'") for name in line.split(other)}:
                which = "line 1" if number == 1 else f"lines 1 to {number}"
                change = f"remove {which}, which {'is' if number == 1 else 'are'} above the column names: "
                change += repr(cut(lines[0], 60))
                if other == delimiter:
                    return _for_both(change)
                return Advice(*(f"{change}; {fix}" for fix in _advise_delimiter(file, other)))
    return None


def _advise_delimiter(file: PartFile, delimiter: str) -> Advice:
    name = f"the delimiter of the file is a {DELIMITER_NAMES[delimiter]}"
    if file.format == "tsv":
        rename = f"{name}: rename the file to .csv"
        convert = "" if delimiter == file.options.delimiter else f", and {_convert(file.options.delimiter)}"
        return Advice(f"{rename}, and set csv_delimiter if needed", f"{rename}{convert}")
    return Advice(
        f"{name}: set csv_delimiter to {json.dumps(delimiter)}", f"{name}: {_convert(file.options.delimiter)}"
    )


def _convert(delimiter: str) -> str:
    return f"convert the file to the delimiter {json.dumps(delimiter)} of the files that the model was trained on"


def _looks_like_data(header: Sequence[str]) -> bool:
    """Return whether a first line has values that are no names: numbers, empty or repeated values, or long texts."""
    return len(set(header)) < len(header) or any(NUMBER.fullmatch(name) or len(name) > 80 for name in header)


def advise_on_rows(file: PartFile, width: int, delimiter: str) -> Advice | None:
    """Return the delimiter to set if the first line does not have the delimiter, but all of another; otherwise None."""
    with file.open() as stream:
        lines = stream.read(HEADER_SAMPLE_LENGTH).decode("utf-8-sig", "replace").splitlines() or [""]
    if delimiter in lines[0]:
        return None
    fitting = [other for other in DELIMITERS if other != delimiter and lines[0].count(other) == width - 1]
    return _advise_delimiter(file, fitting[0]) if len(fitting) == 1 and width > 1 else None


def advise_on_quotes(file: PartFile, quote: str) -> Advice | None:
    """Return which setting the quotes of the file ask for; None if the settings already fit."""
    if file.options.escape is None and quote:
        with file.open() as stream:
            if ESCAPED_QUOTE.search(stream.read(SAMPLE_LENGTH)):
                fault = "the file escapes quotes with a backslash, as Spark writes them"
                change = "double each quote inside a quoted text instead"
                return Advice(f'{fault}: set csv_escape to "\\\\"', f"{fault}: {change}")
    if not quote:
        fault = "if the values of the file are in quotes"
        change = "write them without, as in the files that the model was trained on"
        return Advice(f'{fault}, set csv_quote to "\\""', f"{fault}, {change}")
    if file.options.quote is None:
        return Advice('if quotes are ordinary characters in the file, set csv_quote to ""', "")
    return None
