"""Read the JSON files that SageMaker writes into a job's `input/config` folder, and its encoding of texts."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.errors.wording import describe_file_kind


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is no such file.

    Raises:
        errors.ContainerError: the file cannot be read, or does not hold a JSON object.
    """
    try:
        text = read_text_file(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as cause:
        raise errors.ContainerError(path, cause) from cause
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("it is not an object")
    except (ValueError, RecursionError) as cause:
        raise errors.ContainerError(path, cause) from cause
    return content


def read_text_file(path: Path) -> str:
    """Return the text of a regular file in UTF-8. Nothing else is opened: reading a pipe would never end.

    Raises:
        OSError: there is no such file, it cannot be read, or it is a folder, pipe, socket or device.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode):
        raise OSError(f"it is {describe_file_kind(mode)}, not a file")
    return path.read_text("utf-8-sig")


def unquote(value: Any) -> Any:
    """Return the content of a JSON text, however often it is encoded; any other value unchanged."""
    while isinstance(value, str) and value.lstrip().startswith('"'):
        try:
            value = json.loads(value)
        except ValueError:
            break
    return value
