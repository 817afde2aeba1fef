"""JSON that holds rows in a form of other servers and libraries, or under the Content-Type of another format."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fusionzoo.data.reading.json_lines import ParsedFile
from fusionzoo.errors import Problem
from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.json_rows import WRAPPERS

NO_OBJECT = ("FZ-D015", "FZ-D319")  # of a line or an element of an array that is a list, a text or a number
MAX_JSON_BYTES = 1_000_000  # of delimited rows that are tried as JSON
OPENING, CLOSING = (b"{", b"["), (b"}", b"]")
IsKnown = Callable[[Iterable[str]], bool]
"""Whether one of some names is that of a column of the model, or nearly."""


def check_form(file: ParsedFile, features: Sequence[str], is_known: IsKnown, *, is_document: bool) -> None:
    """Check that the first object is a row.

    Raises:
        RequestError: it holds all rows, such as the document of another server or the columns of a table.
    """
    record: Any = file.elements[0][1] if file.elements else None
    if not isinstance(record, dict):
        return
    values = [record[name] for name in features if name in record]
    if not values and not is_known(map(str, record)):
        _check_unknown(record, is_document)
    elif values and all(isinstance(value, list) for value in values):
        raise RequestError.json_columns("a list for each column")
    elif values and all(isinstance(value, dict) for value in values):
        raise RequestError.json_columns("an object for each column")


def has_no_objects(file: ParsedFile) -> bool:
    """Return whether every row is a list, a text or a number, so that no value has the name of its column."""
    return all(isinstance(row, Problem) and row.code in NO_OBJECT for _, row in file.elements)


def _check_unknown(record: dict[str, Any], is_document: bool) -> None:
    """Raise RequestError if a record without a column of the model holds rows."""
    if record.keys() >= {"columns", "data"} or record.keys() >= {"schema", "data"}:
        raise RequestError.json_columns("the names of the columns apart from the values")
    for name, value in record.items():
        if name in WRAPPERS and not is_document:
            raise RequestError.json_document_as_lines(name)
        if name in WRAPPERS or isinstance(value, dict | list):
            raise RequestError.json_wrapper(name)


def check_delimited(body: bytes, is_known: IsKnown) -> None:
    """Check that delimited rows are not JSON: a model with a single column would score each line as a text.

    Raises:
        RequestError: the body, or its first line, is an object or a list of objects that has a column of the model.
    """
    body = body.removeprefix(codecs.BOM_UTF8).strip()
    if not body.startswith(OPENING):
        return
    for text in (body.partition(b"\n")[0].strip(), body):
        if len(text) <= MAX_JSON_BYTES and text.endswith(CLOSING) and _has_rows(text, is_known):
            raise RequestError.json_as_delimited()


def _has_rows(text: bytes, is_known: IsKnown) -> bool:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # not UTF-8, or not JSON
        return False
    record = value[0] if isinstance(value, list) and value else value
    return isinstance(record, dict) and (any(name in record for name in WRAPPERS) or is_known(record))
