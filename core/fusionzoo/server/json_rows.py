"""The rows of a JSON document or of JSON Lines, each parsed once, and no more of them than a request may have."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from fusionzoo.data.reading.json_lines import Element, ParsedFile, check_objects, parse_elements
from fusionzoo.data.reading.json_objects import RepeatedKeys, make_object, parse_json, parse_json_at
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.request_errors import RequestError

WRAPPERS = ("instances", "inputs")
IGNORED = frozenset({"signature_name"})  # of TensorFlow Serving, where a model can have several signatures
MAX_WRAPPER_KEYS = 16  # of a document that is parsed row by row; no document with so many keys has a valid wrapper
OBJECT_START = re.compile(r'[ \t\n\r]*\{[ \t\n\r]*(?=")')
COLON = re.compile(r"[ \t\n\r]*:[ \t\n\r]*")
NEXT_KEY = re.compile(r'[ \t\n\r]*(?:,[ \t\n\r]*(?=")|(?P<end>\}[ \t\n\r]*\Z))')
ARRAY_START = re.compile(r"\[[ \t\n\r]*(?P<end>\])?")
NEXT_ELEMENT = re.compile(r"[ \t\n\r]*(?:,[ \t\n\r]*|(?P<end>\]))")


def parse_rows(file: PartFile, is_document: bool, max_rows: int) -> ParsedFile:
    """Return the file with its rows, which the reader of files then checks.

    A document is {"instances": [...]}, {"inputs": [...]}, a list of rows, or one row. The value of a wrapper is a list
    of rows, or one row. An object is a row if the values of "instances" and "inputs" are plain, so that they can be
    columns of the model. Otherwise, the file is JSON Lines or a list.

    Args:
        file: the body of the request.
        is_document: whether the body is one JSON document.
        max_rows: the number of rows that the request may have.

    Raises:
        RequestError: the document is none of these or is not JSON, or there are too many rows.
        errors.DataError: JSON Lines or a list cannot be read.
    """
    body = file.content or b""
    if is_document and not body.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"["):
        rows = _find_rows(_parse_document(body, max_rows))
        length = len(body) // max(1, len(rows))  # the mean: lengths only decide where blocks end
        elements: Iterable[Element] = check_objects(file, ((length, row) for row in rows))
    else:
        elements = parse_elements(file)
    with file.convert_read_errors():
        taken = tuple(islice(elements, max_rows + 1))
    if len(taken) > max_rows:
        raise RequestError.too_many_rows(max_rows)
    return ParsedFile(file.path, file.name, file.format, file.gzipped, file.options, file.partition, body, taken)


def _parse_document(body: bytes, max_rows: int) -> Any:
    """Return the value of a document.

    Raises:
        RequestError: it is not JSON, or a wrapper has too many rows.
    """
    try:
        text = body.decode("utf-8-sig")
        try:
            return make_object(list(_parse_entries(text, max_rows)))
        except ValueError:  # not an object, or not JSON: then this has the reason
            return parse_json(text)
    except (ValueError, RecursionError) as cause:  # UnicodeDecodeError is a ValueError
        raise RequestError.invalid_json(cause) from cause


def _parse_entries(text: str, max_rows: int) -> Iterator[tuple[str, Any]]:
    """Yield the keys and values of an object. The rows of a wrapper are counted while they are parsed.

    Raises:
        RequestError: a wrapper has too many rows.
        ValueError: the text is not an object, or it has more than `MAX_WRAPPER_KEYS` keys.
    """
    position = _match(OBJECT_START, text, 0).end()
    for _ in range(MAX_WRAPPER_KEYS):
        key, position = parse_json_at(text, position)
        position = _match(COLON, text, position).end()
        if key in WRAPPERS and text.startswith("[", position):
            value, position = _parse_array(text, position, max_rows)
        else:
            value, position = parse_json_at(text, position)
        yield key, value
        separator = _match(NEXT_KEY, text, position)
        if separator["end"]:
            return
        position = separator.end()
    raise ValueError("too many keys")


def _parse_array(text: str, position: int, max_rows: int) -> tuple[list[Any], int]:
    """Return the elements of the array that begins at a position, and where it ends.

    Raises:
        RequestError: it has too many elements. The others are not parsed.
        ValueError: it is not valid.
    """
    rows: list[Any] = []
    separator = _match(ARRAY_START, text, position)
    while not separator["end"]:
        row, position = parse_json_at(text, separator.end())
        rows.append(row)
        if len(rows) > max_rows:
            raise RequestError.too_many_rows(max_rows)
        separator = _match(NEXT_ELEMENT, text, position)
    return rows, separator.end()


def _match(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    match = pattern.match(text, position)
    if match is None:
        raise ValueError(f"the text at {position} is not of an object")
    return match


def _find_rows(document: Any) -> list[Any]:
    if isinstance(document, str) and document.lstrip().startswith(("{", "[")):
        raise RequestError.json_encoded_twice()
    if not isinstance(document, dict):
        raise RequestError.json_without_rows(f"it is {json.dumps(document)[:40]}")
    wrappers = [name for name in WRAPPERS if isinstance(document.get(name), dict | list)]
    if not wrappers:
        return [document]
    if isinstance(document, RepeatedKeys) and (name := document.find(WRAPPERS)):
        raise RequestError.json_without_rows(f"it has '{name}' more than once")
    others = [name for name in document if name != wrappers[0] and name not in IGNORED]
    if others:
        raise RequestError.json_without_rows(f"'{wrappers[0]}' has other entries next to it, such as '{others[0]}'")
    rows = document[wrappers[0]]
    return [rows] if isinstance(rows, dict) else list(rows)
