"""Texts that are known in part: ordinary strings in which private characters stand for the parts that are not known.

Such a text is joined, split and normalized with the operations of ordinary strings.
"""

from __future__ import annotations

import posixpath
import re

UNKNOWN_PART = "\U000f0000"
ENVIRONMENT_PART = "\U000f0001"
"""The value of an environment variable that SageMaker does not set."""
ARGUMENT_PART = "\U000f0002"
"""The value of a command-line argument without a default."""
HOME_PART = "\U000f0003"
"""The home folder, as `Path.home()` returns it."""
CODE_PART = "\U000f0004"
"""The folder of the script, as `__file__` gives it."""
NAME_PART = "\U000f0005"
"""The name of a file that a folder holds."""

PARTS = {
    UNKNOWN_PART: "<unknown>",
    ENVIRONMENT_PART: "<environment>",
    ARGUMENT_PART: "<argument>",
    HOME_PART: "<home>",
    CODE_PART: "<code>",
    NAME_PART: "<name>",
}
ANY_PART = re.compile("[" + "".join(PARTS) + "]")
MAX_LENGTH = 4096  # characters; a path of Linux is not longer


def clean_literal(text: str) -> str:
    """Return a string of the script without the characters that have a meaning here, and not longer than a path."""
    if len(text) > MAX_LENGTH:
        text = text[:MAX_LENGTH] + UNKNOWN_PART
        return ANY_PART.sub("?", text[:-1]) + UNKNOWN_PART
    return text if text.isascii() else ANY_PART.sub("?", text)


def limit(text: str) -> str:
    """Return the text, with an unknown end if it is too long."""
    return text if len(text) <= MAX_LENGTH else text[:MAX_LENGTH] + UNKNOWN_PART


def is_known(text: str) -> bool:
    """Return whether every part of the text is known."""
    return text.isascii() or not ANY_PART.search(text)


def known_prefix(text: str) -> str:
    """Return the text before its first unknown part."""
    match = ANY_PART.search(text)
    return text if match is None else text[: match.start()]


def show(text: str) -> str:
    """Return the text for a message, with a word for each unknown part."""
    return ANY_PART.sub(lambda match: PARTS[match.group()], text)


def join_path(first: str, second: str) -> str:
    """Return the second path below the first one; an unknown second path counts as relative."""
    return limit(posixpath.join(first, second))


def normalize(path: str) -> str:
    """Return the path without `.`, `..`, doubled and trailing slashes; a URL such as `file:///opt` as its path."""
    if path.startswith("file://"):
        path = path.removeprefix("file://")
    path = posixpath.normpath(path)
    return "/" + path.lstrip("/") if path.startswith("//") else path


def parent(path: str) -> str:
    """Return the folder of a path, like `pathlib`."""
    return dirname(path.rstrip("/")) or ("/" if path.startswith("/") else ".")


def dirname(path: str) -> str:
    """Return the folder of a path, like `os.path.dirname`; that of a path which is not known is not known either."""
    is_unknown = "/" not in path and path[:1] in PARTS and path[:1] != NAME_PART
    return UNKNOWN_PART if is_unknown and path else posixpath.dirname(path)
