"""Operations on paths: `os.path`, and the parts of `pathlib` that touch no file."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from itertools import product
from pathlib import PurePosixPath

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.values import (
    BOOL,
    NONE,
    UNKNOWN,
    UNKNOWN_TEXT,
    Method,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    text,
)

MAX_COMBINATIONS = 32
MAX_PARENTS = 16
FOLDER_CONTEXT = "folder context"
PATH_ATTRIBUTES = ("parent", "parents", "name", "stem", "suffix", "suffixes", "parts", "anchor", "root", "drive")


def as_texts(value: Value) -> list[str]:
    """Return each alternative as a text; anything else is unknown."""
    found = [atom.value if isinstance(atom, Text) else texts.UNKNOWN_PART for atom in value if not _is_none(atom)]
    return list(dict.fromkeys(found)) or [texts.UNKNOWN_PART]


def _is_none(atom: object) -> bool:
    return getattr(atom, "type_name", "") == "NoneType"


def join_paths(values: list[Value], is_path: bool) -> Value:
    """Return the path that joins the alternatives of several paths."""
    found = {""}
    for value in values:
        pieces = as_texts(value)
        found = {texts.join_path(*pair) for pair in list(product(sorted(found), pieces))[:MAX_COMBINATIONS]}
    return join(*(text(path, is_path) for path in sorted(found)))


def join_arguments(call: Call, is_path: bool) -> Value:
    """Return the path that joins the arguments of a call."""
    values = list(call.arguments.positional)
    if call.arguments.rest:
        values.append(call.arguments.rest)
    return join_paths(values, is_path) if values else text(".", is_path)


def map_path(change: Callable[[str], str], is_path: bool = False) -> Callable[[Machine, Call], Value]:
    """Return a model of a function that changes one path."""

    def model(machine: Machine, call: Call) -> Value:
        return join(*(text(change(path), is_path) for path in as_texts(call.first())))

    return model


def map_pair(change: Callable[[str], tuple[str, str]]) -> Callable[[Machine, Call], Value]:
    """Return a model of a function that splits a path in two."""

    def model(machine: Machine, call: Call) -> Value:
        return join(*((Tuple(tuple(text(part) for part in change(path))),) for path in as_texts(call.first())))

    return model


def expand_home(path: str) -> str:
    """Return the path with the home folder for a leading `~`."""
    if path == "~" or path.startswith("~/"):
        return texts.HOME_PART + path[1:]
    return path


def absolute(path: str, folder: str = "") -> str:
    """Return the absolute path; a relative one starts in a folder, which is that of the code by default."""
    starts_known = path.startswith("/") or (path and path[0] in texts.PARTS)
    return texts.normalize(path if starts_known else texts.join_path(folder or texts.CODE_PART, path))


def _make_absolute(machine: Machine, call: Call) -> Value:
    return join(*(text(absolute(path, machine.folder)) for path in as_texts(call.first())))


def _get_folder(machine: Machine, call: Call) -> Value:
    return text(machine.folder or texts.CODE_PART, call.name.startswith("pathlib"))


def _change_folder(machine: Machine, call: Call) -> Value:
    """Model `os.chdir`: relative paths start in the new folder from now on."""
    paths = as_texts(call.get(0, "path") or UNKNOWN)
    is_split = any(frame.function is not None and "contextmanager" in frame.function.roles for frame in machine.frames)
    if is_split:  # the body of `with` runs between two parts of the function that runs here as a whole
        machine.folder = texts.UNKNOWN_PART
    elif machine.folder != texts.UNKNOWN_PART or paths[0].startswith("/"):
        machine.folder = absolute(paths[0], machine.folder) if len(paths) == 1 else texts.UNKNOWN_PART
    return NONE


def _make_folder_context(machine: Machine, call: Call) -> Value:
    """Model `contextlib.chdir`."""
    found = machine.heap.instance(None, FOLDER_CONTEXT)
    found.attributes["path"] = call.get(0, "path") or UNKNOWN
    return (found,)


def _common_path(machine: Machine, call: Call) -> Value:
    found: list[str] = []
    for item in machine.iterate(call.first(), call.node)[0]:
        found += as_texts(item)
    try:
        return text(posixpath.commonpath(found))
    except ValueError:
        return UNKNOWN_TEXT


def _relative_path(machine: Machine, call: Call) -> Value:
    starts = as_texts(call.get(1, "start") or constant(""))
    return join_all(text(_relative(path, starts[0])) for path in as_texts(call.first()))


def _relative(path: str, start: str) -> str:
    base = texts.normalize(start) if start else ""
    path = texts.normalize(path)
    if base and (path == base or path.startswith(f"{base}/")):
        return path.removeprefix(base).lstrip("/") or "."
    return texts.UNKNOWN_PART


def path_attribute(atom: Text, name: str) -> Value:
    """Return an attribute of a path; a method of it or of a string for any other name."""
    if name not in PATH_ATTRIBUTES or not (atom.is_path or name in ("parent", "parents")):
        return (atom,) if name == "value" else (Method(atom, name),)
    path = atom.value
    if name == "parent":
        return text(texts.parent(path), True)
    if name == "parents":
        return (Tuple(tuple(text(parent, True) for parent in _list_parents(path))),)
    if name == "parts":
        return (Tuple(tuple(text(part) for part in PurePosixPath(path).parts)),)
    if name == "suffixes":
        return UNKNOWN
    if name in ("suffix", "stem") and _has_unknown_suffix(path):
        return UNKNOWN_TEXT if name == "suffix" else text(PurePosixPath(path).name)
    return text(str(getattr(PurePosixPath(path), name)))


def _has_unknown_suffix(path: str) -> bool:
    """Return whether the name of a path ends in a part that is not known, which may hold its suffix."""
    return bool(path) and path[-1] in texts.PARTS


def _split_suffix(path: str) -> tuple[str, str]:
    return (path, texts.UNKNOWN_PART) if _has_unknown_suffix(path) else posixpath.splitext(path)


def _list_parents(path: str) -> list[str]:
    found: list[str] = []
    while len(found) < MAX_PARENTS and path not in ("/", "."):
        path = texts.parent(path)
        found.append(path)
    return found


def _change_name(path: str, change: Callable[[PurePosixPath], PurePosixPath]) -> str:
    try:
        return str(change(PurePosixPath(path)))
    except ValueError:
        return texts.UNKNOWN_PART


def path_method(machine: Machine, call: Call, path: str) -> Value | None:
    """Return the result of a method of `pathlib.Path` that touches no file; None if it is not one."""
    name = call.name
    if name in ("joinpath", "__truediv__"):
        rest = [call.arguments.rest] if call.arguments.rest else []
        return join_paths([text(path, True), *call.arguments.positional, *rest], True)
    if name in ("resolve", "absolute", "readlink"):
        return text(absolute(path, machine.folder), True)
    if name == "expanduser":
        return text(expand_home(path), True)
    if name in ("as_posix", "__fspath__", "__str__"):
        return text(path)
    if name == "as_uri":
        return text(f"file://{path}")
    if name in ("with_name", "with_suffix", "with_stem"):
        arguments = as_texts(call.first())
        if name == "with_name":
            return join(*(text(texts.join_path(texts.parent(path), argument), True) for argument in arguments))
        return join(*(text(_change_name(path, lambda p, a=a: getattr(p, name)(a)), True) for a in arguments))  # type: ignore[misc]
    if name == "relative_to":
        return join(*(text(_relative(path, start), True) for start in as_texts(call.first())))
    if name in ("is_absolute", "is_relative_to", "match", "full_match", "samefile"):
        return BOOL
    return None


def _is_absolute(machine: Machine, call: Call) -> Value:
    results = [path.startswith("/") if path[:1] not in texts.PARTS else None for path in as_texts(call.first())]
    return constant(results[0]) if len(set(results)) == 1 and results[0] is not None else BOOL


PATH_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "os.path.join": lambda machine, call: join_arguments(call, False),
    "os.path.normpath": map_path(texts.normalize),
    "os.path.abspath": _make_absolute,
    "os.path.realpath": _make_absolute,
    "os.chdir": _change_folder,
    "contextlib.chdir": _make_folder_context,
    "os.path.expanduser": map_path(expand_home),
    "os.path.expandvars": map_path(lambda path: path if "$" not in path else texts.UNKNOWN_PART),
    "os.path.dirname": map_path(texts.dirname),
    "os.path.basename": map_path(posixpath.basename),
    "os.path.normcase": map_path(str),
    "os.path.split": map_pair(lambda path: (texts.dirname(path), posixpath.basename(path))),
    "os.path.splitext": map_pair(_split_suffix),
    "os.path.splitdrive": map_pair(posixpath.splitdrive),
    "os.path.commonpath": _common_path,
    "os.path.commonprefix": _common_path,
    "os.path.relpath": _relative_path,
    "os.path.isabs": _is_absolute,
    "os.fspath": map_path(str),
    "os.fsdecode": map_path(str),
    "os.fsencode": map_path(str),
    "shlex.quote": map_path(str),
    "pathlib.Path": lambda machine, call: join_arguments(call, True),
    "pathlib.PurePath": lambda machine, call: join_arguments(call, True),
    "pathlib.PosixPath": lambda machine, call: join_arguments(call, True),
    "pathlib.PurePosixPath": lambda machine, call: join_arguments(call, True),
    "pathlib.Path.home": lambda machine, call: text(texts.HOME_PART, True),
    "pathlib.Path.cwd": _get_folder,
    "os.getcwd": _get_folder,
}
