"""The rows of a JSON document, in each form that clients send."""

from __future__ import annotations

import json
from typing import Any

from fusionzoo.data.reading.json_objects import RepeatedKeys, make_object
from fusionzoo.errors.request_errors import RequestError

WRAPPERS = ("instances", "inputs")
IGNORED = frozenset({"signature_name"})  # of TensorFlow Serving, where a model can have several signatures
UTF8_MARK = b"\xef\xbb\xbf"


def unwrap_rows(body: bytes) -> bytes:
    """Return the rows of a document as a JSON array, which the reader of files then reads and checks.

    A document is {"instances": [...]}, {"inputs": [...]}, a list of rows, or one row. The value of a wrapper is a list
    of rows, or one row. An object is a row if the values of "instances" and "inputs" are plain, so that they can be
    columns of the model.

    Raises:
        RequestError: the document is none of these, or is not JSON.
    """
    if body.removeprefix(UTF8_MARK).lstrip().startswith(b"["):
        return body
    try:
        document = json.loads(body.decode("utf-8-sig"), object_pairs_hook=make_object)
    except (ValueError, RecursionError) as cause:  # UnicodeDecodeError is a ValueError
        raise RequestError.invalid_json(cause) from cause
    rows = _find_rows(document)
    try:
        return f"[{', '.join(map(_render_row, rows))}]".encode()
    except (ValueError, RecursionError) as cause:
        raise RequestError.invalid_json(cause) from cause


def _find_rows(document: Any) -> list[Any]:
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


def _render_row(row: Any) -> str:
    """Return a row as JSON, with all values of a key that occurs more than once: the reader of files refuses it."""
    if not isinstance(row, RepeatedKeys):
        return json.dumps(row)
    return f"{{{', '.join(f'{json.dumps(key)}: {json.dumps(value)}' for key, value in row.pairs)}}}"
