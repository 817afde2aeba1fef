"""Paths that users give: all of them are local. A URL would become a folder that is named after its scheme."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from fusionzoo.errors import PathError

NO_FOLDER = Path(os.devnull)
"""Nothing can be created below it."""
URL = re.compile("[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def to_local_path(name: str, text: str) -> Path:
    """Return the path that an option or environment variable gives.

    Args:
        name: that of the option or variable, for the error.
        text: its value.

    Raises:
        errors.PathError: the value is a URL.
    """
    if URL.match(text):
        raise PathError.url(name, text)
    return Path(text)


def read_path_variable(environ: Mapping[str, str], name: str, default: str | Path) -> Path:
    """Return the path that an environment variable gives, or the default if it is absent or empty.

    Raises:
        errors.PathError: the value is a URL.
    """
    return to_local_path(name, environ.get(name) or str(default))
