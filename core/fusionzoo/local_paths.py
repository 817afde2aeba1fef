"""Paths that users give: all of them are local. A URL would become a folder that is named after its scheme."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Mapping
from pathlib import Path

from fusionzoo.errors import PathError

NO_FOLDER = Path(os.devnull)
"""Nothing can be created below it."""
URL = re.compile("[a-z][a-z0-9+.-]*://", re.IGNORECASE)


def to_local_path(name: str, text: str) -> Path:
    """Return the path that an option, setting or environment variable gives. There need not be anything at it.

    Args:
        name: that of the option, setting or variable, for the error.
        text: its value. "~" at its beginning is the home folder: no shell replaces it in a file or an image.

    Raises:
        errors.PathError: the value is a URL, or no file or folder can have this path.
    """
    if URL.match(text):
        raise PathError.url(name, text)
    try:
        path = Path(text).expanduser() if text == "~" or text.startswith("~/") else Path(text)
        path.stat()
    except (RuntimeError, ValueError) as cause:  # there is no home folder, or the text has a null character
        raise PathError.impossible(name, text, str(cause)) from cause
    except OSError as cause:
        if cause.errno in (errno.ENAMETOOLONG, errno.ELOOP):
            raise PathError.impossible(name, text, cause.strerror or str(cause)) from cause
    return path


def read_path_variable(environ: Mapping[str, str], name: str, default: str | Path) -> Path:
    """Return the path that an environment variable gives, or the default if it is absent or empty.

    Raises:
        errors.PathError: the value is a URL, no path, or not text: libraries that write files need it in UTF-8.
    """
    text = environ.get(name) or str(default)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as cause:
        raise PathError.not_text(name, text) from cause
    return to_local_path(name, text)


def check_working_folder() -> None:
    """Check that the working folder exists. Call this before torch is imported, which ends the process otherwise.

    Raises:
        errors.PathError: it was deleted.
    """
    try:
        Path.cwd()
    except FileNotFoundError as cause:
        raise PathError.no_working_folder() from cause
