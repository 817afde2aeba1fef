"""Read and parse Python files without running them. Nothing that is in a file makes this fail with an exception."""

from __future__ import annotations

import ast
import codecs
import tokenize
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from fusionzoo.contracts.static.atoms import ModuleSource

MAX_FILE_BYTES = 20_000_000


@dataclass(frozen=True)
class Unreadable:
    """Why a file cannot be analyzed; `line` is None if no line is to blame."""

    path: Path
    line: int | None
    message: str
    fix: str


def parse_file(path: Path, name: str, is_package: bool = False) -> ModuleSource | Unreadable:
    """Return the module in a file, or why it cannot be analyzed."""
    try:
        if path.is_dir():
            return Unreadable(path, None, "it is a folder, not a Python file", "Name the script inside of it.")
        if not path.is_file():
            exists = path.exists()
            message = "it is not a regular file" if exists else "there is no such file"
            return Unreadable(path, None, message, "Check the path of the script.")
        if path.stat().st_size > MAX_FILE_BYTES:
            message = f"it is larger than {MAX_FILE_BYTES // 1_000_000} MB"
            return Unreadable(path, None, message, "Split it into modules, and keep data out of the code.")
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return Unreadable(path, None, f"it cannot be read: {reason}", "Check the path and its permissions.")
    return parse_source(content, path, name, is_package)


def parse_source(content: bytes, path: Path, name: str, is_package: bool = False) -> ModuleSource | Unreadable:
    """Return the module with this source code, or why it cannot be analyzed."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Unreadable(path, 1, "it is UTF-16, which Python does not read", "Save the file as UTF-8.")
    if b"\0" in content:
        return Unreadable(path, None, "it has null bytes, so it is not a Python file", "Name a Python script.")
    try:
        encoding, _ = tokenize.detect_encoding(BytesIO(content).readline)
        text = content.decode(encoding)
    except (SyntaxError, LookupError) as error:
        return Unreadable(path, 1, f"its encoding is not valid: {error}", "Save the file as UTF-8.")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        return Unreadable(path, line, f"it is not {encoding}: {error.reason}", "Save the file as UTF-8.")
    if _is_notebook(text):
        fix = "Export it with `jupyter nbconvert --to script`, and name the exported script."
        return Unreadable(path, None, "it is a Jupyter notebook, not a Python script", fix)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the code that is read, such as invalid escapes
            tree = ast.parse(text, filename=str(path))
    except SyntaxError as error:
        message = f"it is not valid Python for this version of Python: {error.msg}"
        return Unreadable(path, error.lineno, message, "Correct the line, or run the validator with that Python.")
    except (RecursionError, MemoryError):
        return Unreadable(path, None, "its expressions are nested too deeply", "Split long expressions.")
    except ValueError as error:
        return Unreadable(path, None, f"it cannot be parsed: {error}", "Name a Python script.")
    return ModuleSource(name, path, tree, text.splitlines(), is_package)


def _is_notebook(text: str) -> bool:
    """Return whether a text is a notebook: its JSON is an expression of Python, too, which does nothing."""
    return text.lstrip().startswith("{") and '"cells"' in text and '"nbformat"' in text


def show_place(file: Path, line: int | None = None) -> str:
    """Return a file and line as a message names them, relative to the current folder if the file is in it."""
    try:
        shown = file.absolute().relative_to(Path.cwd())
    except (ValueError, OSError):
        shown = file
    return str(shown) if line is None else f"{shown}:{line}"
