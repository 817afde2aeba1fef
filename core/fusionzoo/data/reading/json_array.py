"""Read a file that is one JSON array of objects, piece by piece, in the memory of one object."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from typing import Any

from fusionzoo import errors
from fusionzoo.data.reading.json_objects import parse_json_at
from fusionzoo.data.reading.part_file import PartFile

CHUNK = 2**16  # characters that are read at once, or more if an object is longer
BEFORE_FIRST = re.compile(r"\s*\[\s*(?P<end>\])?")
BEFORE_NEXT = re.compile(r"\s*(?:,\s*|(?P<end>\]))")


def is_json_array(file: PartFile) -> bool:
    """Return whether the first character of the file opens an array."""
    with file.open() as stream:
        return stream.read(CHUNK).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def parse_array(file: PartFile) -> Iterator[tuple[int, Any]]:
    """Yield each element with its length in characters.

    Raises:
        errors.DataError: the text is not a JSON array, or an element is longer than a row may be.
    """
    cause, limit = "", file.options.max_row_bytes
    chunk = CHUNK if file.content is None else max(CHUNK, len(file.content))  # so that no object is parsed twice
    buffer, position, number, separator = "", 0, 1, BEFORE_FIRST
    with file.open() as stream, io.TextIOWrapper(stream, "utf-8-sig") as text:
        while True:
            match = separator.match(buffer, position)
            if match and match["end"]:
                if (buffer[match.end() :] + text.read(CHUNK)).strip():
                    raise errors.DataError([errors.invalid_json_array(file.name, number, "text after the array")])
                return
            if match and match.end() < len(buffer):
                try:
                    value, end = parse_json_at(buffer, match.end())
                except (ValueError, RecursionError) as error:
                    cause = f"{error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
                else:
                    yield end - position, value
                    position, number, separator = end, number + 1, BEFORE_NEXT
                    continue
            elif match is None and buffer[position:].strip():
                raise errors.DataError([errors.invalid_json_array(file.name, number, "a comma or ] is missing")])
            if len(buffer) - position > limit:
                raise errors.DataError([errors.row_too_long(f"{file.name} element {number}", limit)])
            more = text.read(max(chunk, len(buffer) - position))
            if not more:
                raise errors.DataError([errors.invalid_json_array(file.name, number, cause or "the array has no end")])
            buffer, position = buffer[position:] + more, 0
