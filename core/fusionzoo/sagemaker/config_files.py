"""Read the JSON files that SageMaker writes into a job's `input/config` folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fusionzoo import errors


def read_json_object(path: Path) -> dict[str, Any] | None:
    """Return the JSON object in a file; None if there is no such file.

    Raises:
        errors.ContainerError: the file cannot be read, or does not hold a JSON object.
    """
    try:
        text = path.read_text("utf-8-sig")
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
