"""Read files of a model folder; a file that is missing or damaged is a ModelFolderError."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fusionzoo import errors


def read_json_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a model folder.

    Raises:
        errors.ModelFolderError: the file is missing, or does not hold a JSON object.
    """
    with model_file_errors(path):
        content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise errors.ModelFolderError.not_an_object(path)
    return content


@contextmanager
def model_file_errors(path: Path) -> Iterator[None]:
    """Raise errors.ModelFolderError where the block cannot read `path`."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError) as cause:
        raise errors.ModelFolderError.unreadable(path, cause) from cause
