"""Record which environment variables the code of a project reads. Runs as `sitecustomize` in every Python process.

The file is copied, under that name, to a folder at the front of PYTHONPATH; the records go to a file in the same
folder. It imports the standard library only, and then runs the `sitecustomize` that it hides, if there is one.

Reads through `os.environ` and `os.getenv` are seen. Reads by native code and by installed libraries, copies of the
whole environment, and Python processes that are started with -I, -E or -S are not.
"""

from __future__ import annotations

import os
import sys
from types import FrameType

RECORD_FILE = "environment.jsonl"
STARTED = ""  # the variable of the record that each process begins with


class Recorder:
    """Replaces the lookups of `os.environ` by ones that record the line of code that reads a variable."""

    def __init__(self, folder: str) -> None:
        self._file = os.path.join(folder, RECORD_FILE)  # noqa: PTH118 - pathlib costs every process 10 ms
        self._seen: set[tuple[str, str, int]] = set()
        self._copying: tuple[int, int] | None = None  # the frame and instruction that list all variables

    def install(self) -> None:
        """Record from now on."""
        kind = type(os.environ)
        original_get, original_iter = kind.__getitem__, kind.__iter__

        def get_item(environ, key):  # type: ignore[no-untyped-def]
            self._see(key)
            return original_get(environ, key)

        def iterate(environ):  # type: ignore[no-untyped-def]
            frame = sys._getframe(1)
            while frame.f_back is not None and is_mapping_code(frame):
                frame = frame.f_back
            self._copying = (id(frame), frame.f_lasti)
            return original_iter(environ)

        kind.__getitem__ = get_item  # type: ignore[method-assign]
        kind.__iter__ = iterate  # type: ignore[method-assign]
        self._write(STARTED, sys.executable or "", 0, "")

    def _see(self, key: object) -> None:
        frame = sys._getframe(2)
        while frame.f_back is not None and is_mapping_code(frame):
            if frame.f_code.co_name in ("__iter__", "copy", "setdefault"):  # setdefault sets it for a library
                return
            frame = frame.f_back
        file = frame.f_code.co_filename
        if self._copying == (id(frame), frame.f_lasti) or is_library(file):
            return
        place = (os.fsdecode(key) if isinstance(key, str | bytes) else repr(key), file, frame.f_lineno)
        if place not in self._seen:
            self._seen.add(place)
            self._write(*place, find_columns(frame))

    def _write(self, variable: str, file: str, line: int, columns: str) -> None:
        """Append a record at once, so that the records of several processes do not mix."""
        text = f"{line}\0{columns}\0{variable}\0{file}\n".encode("utf-8", "surrogateescape")
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(descriptor, text)
            finally:
                os.close(descriptor)
        except OSError as error:  # for example: no descriptor is free. The script must not fail because of it
            sys.stderr.write(f"fusionzoo contract verify cannot record a variable: {error}\n")


def find_columns(frame: FrameType) -> str:
    """Return where the expression that a frame evaluates begins and ends: "line column line column".

    "" if that is not known; Python 3.10 knows the line only.
    """
    list_positions = getattr(frame.f_code, "co_positions", tuple)
    for number, (line, end_line, column, end_column) in enumerate(list_positions()):
        if number == frame.f_lasti // 2:
            return "" if None in (line, end_line, column, end_column) else f"{line} {column} {end_line} {end_column}"
    return ""


def is_mapping_code(frame: FrameType) -> bool:
    """Return whether a frame is in the code of `os.environ` and its base classes."""
    return frame.f_globals.get("__name__") in ("os", "collections.abc")


def is_library(file: str) -> bool:
    """Return whether a source file belongs to the standard library or to an installed library."""
    if file.startswith("<") or "/site-packages/" in file or "/dist-packages/" in file:
        return True
    return file.startswith(os.path.dirname(os.__file__) + os.sep)  # noqa: PTH120


def run_hidden_sitecustomize(folder: str) -> None:
    """Run the `sitecustomize` that the interpreter would have run without this one."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    others = [path for path in sys.path if os.path.abspath(path) != folder]  # noqa: PTH100
    spec = PathFinder.find_spec("sitecustomize", others)
    if spec is not None and spec.loader is not None:
        spec.loader.exec_module(module_from_spec(spec))


if __name__ == "sitecustomize":
    _folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    Recorder(_folder).install()
    run_hidden_sitecustomize(_folder)
