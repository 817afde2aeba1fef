"""The environment variables that a run read, as `environment_recorder` recorded them."""

from __future__ import annotations

import ast
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.contracts.verification import environment_recorder

LOOKUPS = frozenset({"get", "getenv", "getenvb", "pop", "__getitem__", "__contains__"})
LOOKUP_TEXT = re.compile(rb"environ|getenv|\b(get|pop|in)\b|\[")


@dataclass(frozen=True)
class VariableRead:
    """A line of code that read an environment variable."""

    variable: str
    file: str
    line: int


def install_recorder(folder: Path) -> None:
    """Write the recorder to a folder that is to be at the front of PYTHONPATH."""
    folder.mkdir(parents=True)
    shutil.copyfile(environment_recorder.__file__, folder / "sitecustomize.py")


def read_records(folder: Path) -> list[VariableRead] | None:
    """Return the reads in their order; None if the recorder did not run."""
    path = folder / environment_recorder.RECORD_FILE
    if not path.exists():
        return None
    reads = []
    for record in path.read_text("utf-8", "surrogateescape").split("\n")[:-1]:
        line, columns, variable, file = record.split("\0", 3)
        if variable != environment_recorder.STARTED and _is_lookup(Path(file), int(line), columns):
            reads.append(VariableRead(variable, file, int(line)))
    return list(dict.fromkeys(reads))


def _is_lookup(file: Path, line: int, columns: str) -> bool:
    """Return whether the expression at a place, or else its line, can look up a variable. True without the source.

    A call into native code of a library has no stack frame: what that code reads appears to be read by the line that
    calls it.
    """
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return True
    if not columns:
        return LOOKUP_TEXT.search(b"".join(lines[line - 1 : line])) is not None
    first, start, last, end = map(int, columns.split())
    selected = lines[first - 1 : last]
    selected[-1:] = [line[:end] for line in selected[-1:]]
    selected[:1] = [line[start:] for line in selected[:1]]
    text = b"\n".join(selected).decode("utf-8", "replace")
    try:
        expression = ast.parse(f"({text})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return True
    if not isinstance(expression, ast.Call) or "environ" in text or "getenv" in text:
        return True
    function = expression.func
    return getattr(function, "attr", getattr(function, "id", "")) in LOOKUPS
