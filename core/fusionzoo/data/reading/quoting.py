"""Quotes in delimited files: whether a TSV file uses them, escaped quotes, and rows that a stray quote would merge."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from fusionzoo import errors

QUOTE = '"'
# Stand for a character that is not a delimiter or a quote. UTF-8 text contains no half of a surrogate pair.
LITERAL_QUOTE, LITERAL_DELIMITER, LITERAL_ESCAPE = "\udc00", "\udc01", "\udc02"
LITERAL_LINE_FEED, LITERAL_RETURN, LITERAL_TAB = "\udc03", "\udc04", "\udc05"
CONTROL_CHARACTERS = {"n": LITERAL_LINE_FEED, "r": LITERAL_RETURN, "t": LITERAL_TAB}


def detect_quote(lines: Iterable[str], delimiter: str, name: str) -> str:
    """Return the quote character of a TSV file, or "" if a quote is an ordinary character in it.

    Most writers of TSV do not quote (Spark, MySQL, Kaggle); pandas and the csv module do, and double each quote inside.
    A value that begins with a quote shows which of the two it is, unless the whole value is in quotes. Such a value
    alone is kept as it is.

    Raises:
        errors.DataError: lines of the file contradict each other.
    """
    width = ambiguous_line = 0
    for number, line, next_line in _with_next(lines):
        values = line.split(delimiter)
        if not width:
            width = len(values) if line else 0
            if any(len(value) > 1 and _is_quoted(value) for value in values):
                return QUOTE
        quoted = [value for value in values if value.startswith(QUOTE)]
        if not quoted:
            continue
        if len(values) == width and all(map(_is_quoted, quoted)):
            if not any(QUOTE * 2 in value for value in quoted):
                ambiguous_line = ambiguous_line or number
                continue
        elif len(values) == width and (next_line is None or next_line.count(delimiter) == width - 1):
            return ""
        if ambiguous_line:
            raise errors.DataError([errors.ambiguous_quotes(name, ambiguous_line, number)])
        return QUOTE
    return ""


def _with_next(lines: Iterable[str]) -> Iterator[tuple[int, str, str | None]]:
    """Yield each line with its number and the line after it; the last one with None."""
    number, previous = 0, None
    for line in lines:
        line = line.rstrip("\r\n")
        if previous is not None:
            yield number, previous, line
        number, previous = number + 1, line
    if previous is not None:
        yield number, previous, None


def _is_quoted(value: str) -> bool:
    """Return whether a value begins and ends with a quote, and each quote inside is doubled."""
    return len(value) > 1 and value[0] == value[-1] == QUOTE and QUOTE not in value[1:-1].replace(QUOTE * 2, "")


def looks_merged(row: Sequence[str], delimiter: str, has_spaces: bool) -> bool:
    """Return whether each line of a quoted value would be a row of its own if quotes were ordinary characters.

    A delimiter before a space belongs to a sentence, unless the header has spaces after delimiters too.
    """
    width = len(row)
    for i, value in enumerate(row):
        if "\n" not in value and "\r" not in value:
            continue
        first, *between, last = re.split("\r\n|\r|\n", value)
        counts = [first.count(delimiter), *(part.count(delimiter) for part in between if part), last.count(delimiter)]
        expected = [width - 1 - i, *[width - 1] * (len(counts) - 2), i]
        if width > 1 and counts == expected and (has_spaces or f"{delimiter} " not in value):
            return True
    return False


def make_line_rewriter(quote: str, escape: str | None, delimiter: str) -> Callable[[str], str]:
    """Return a function that replaces escaped characters of a line by stand-ins, before the line is parsed.

    In a file with quotes, the escape is special only before a quote, as Spark writes it: other backslashes are text.
    In a file without quotes it is also special before a delimiter and itself, as MySQL and Hive write it.
    """
    if escape is None:
        return lambda line: line
    if quote:
        escaped_quote = re.compile(f"{re.escape(escape)}+{re.escape(quote)}")

        def rewrite(match: re.Match[str]) -> str:
            escapes = len(match[0]) - 1
            return LITERAL_ESCAPE * (escapes // 2) + (LITERAL_QUOTE if escapes % 2 else quote)

        return lambda line: escaped_quote.sub(rewrite, line) if escape in line else line
    stand_ins = {delimiter: LITERAL_DELIMITER, escape: LITERAL_ESCAPE, **CONTROL_CHARACTERS}
    escaped = re.compile(re.escape(escape) + f"([{re.escape(''.join(stand_ins))}])")
    return lambda line: escaped.sub(lambda match: stand_ins[match[1]], line) if escape in line else line


def make_value_restorer(quote: str, escape: str | None, delimiter: str) -> Callable[[list[str]], list[str]]:
    """Return a function that puts the escaped characters back into the values of a row."""
    if escape is None:
        return lambda row: row
    characters = {LITERAL_QUOTE: quote, LITERAL_DELIMITER: delimiter, LITERAL_ESCAPE: escape}
    table = str.maketrans({**characters, LITERAL_LINE_FEED: "\n", LITERAL_RETURN: "\r", LITERAL_TAB: "\t"})
    return lambda row: [value.translate(table) for value in row]
