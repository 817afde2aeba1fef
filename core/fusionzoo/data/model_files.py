"""Read files of a model folder; a file that is missing or damaged is a ModelFolderError."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import PickleError
from typing import Any

from fusionzoo import errors

UNUSABLE = (  # what reading a damaged file, or building objects from its content, raises
    OSError,
    RuntimeError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    PickleError,  # of torch.load
)


def parse_json_object(content: bytes, path: Path) -> dict[str, Any]:
    """Return the JSON object that a file of a model folder holds; `path` names the file in messages.

    Raises:
        errors.ModelFolderError: the content is not a JSON object.
    """
    with model_file_errors(path):
        parsed = json.loads(content.decode("utf-8"))
    if not isinstance(parsed, dict):
        raise errors.ModelFolderError.not_an_object(path)
    return parsed


@contextmanager
def model_file_errors(path: Path) -> Iterator[None]:
    """Raise errors.ModelFolderError where the block cannot read or use `path`."""
    try:
        yield
    except UNUSABLE as cause:
        raise errors.ModelFolderError.unreadable(path, cause) from cause
