"""The operations of `pathlib`, `os`, `glob` and `open` that touch files, and what they return."""

from __future__ import annotations

import re
from collections.abc import Callable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.path_operations import as_texts
from fusionzoo.contracts.static.values import (
    BOOL,
    NONE,
    UNKNOWN,
    File,
    Result,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    literal,
    text,
)

READ, WRITE, LIST, CREATE, DELETE, TOUCH = "read", "write", "list", "create", "delete", "unknown"
WILDCARD = re.compile(r"[*?\[]")
PATH_METHODS = {
    "read_text": (READ,),
    "read_bytes": (READ,),
    "write_text": (WRITE,),
    "write_bytes": (WRITE,),
    "touch": (WRITE,),
    "mkdir": (CREATE,),
    "unlink": (DELETE,),
    "rmdir": (DELETE,),
    "symlink_to": (WRITE,),
    "hardlink_to": (WRITE,),
    "iterdir": (LIST,),
    "glob": (LIST,),
    "rglob": (LIST,),
    "walk": (LIST,),
    "exists": (),
    "is_file": (),
    "is_dir": (),
    "is_symlink": (),
    "is_fifo": (),
    "stat": (),
    "lstat": (),
    "chmod": (),
}
BOOLEAN_METHODS = ("exists", "is_file", "is_dir", "is_symlink", "is_fifo")


def open_directions(mode: Value | None) -> tuple[str, ...]:
    """Return what a file is opened for."""
    known = "r" if mode is None else literal(mode)
    known = known if known is None else re.split("[:|]", known)[0]  # tarfile: r:gz
    if known is None:
        return (TOUCH,)
    directions = [WRITE] if set("wax") & set(known) else [READ]
    return (READ, WRITE) if "+" in known else tuple(directions)


def path_file_method(machine: Machine, call: Call, atom: Text) -> Value | None:
    """Return the result of a method of a path that touches a file; None if it is not one."""
    path: Value = machine.receivers if atom in machine.receivers else (atom,)
    name = call.name
    if name == "open":
        for direction in open_directions(call.get(0, "mode")):
            machine.recorder.record_use(machine, path, direction, call.node)
        return (File(path),)
    if name in ("rename", "replace", "move", "copy", "copy_into", "move_into"):
        target = call.first()
        machine.recorder.record_use(machine, path, READ if name.startswith("copy") else DELETE, call.node)
        machine.recorder.record_use(machine, target, WRITE, call.node)
        return tuple(Text(item.value, True) for item in target if isinstance(item, Text)) or UNKNOWN
    if name not in PATH_METHODS:
        return None
    for direction in PATH_METHODS[name]:
        machine.recorder.record_use(machine, path, direction, call.node)
    if name in BOOLEAN_METHODS:
        return BOOL
    if name in ("iterdir", "glob", "rglob"):
        pattern = as_texts(call.first()) if name == "glob" else [texts.NAME_PART]
        found = [expand_pattern(texts.join_path(atom.value, one)) for one in pattern]
        return (machine.heap.sequence([text(one, True) for one in found], is_exact=False),)
    if name == "walk":
        return walk(machine, path, True)
    return UNKNOWN if name != "read_text" else text(texts.UNKNOWN_PART)


def expand_pattern(pattern: str) -> str:
    """Return the path of a file that a pattern such as `data/*.csv` finds."""
    match = WILDCARD.search(pattern)
    if match is None:
        return pattern
    folder = pattern[: match.start()].rpartition("/")[0]
    return texts.join_path(folder or ("/" if pattern.startswith("/") else ""), texts.NAME_PART)


def walk(machine: Machine, roots: Value, is_path: bool = False) -> Value:
    """Return what `os.walk` yields: a folder, the names of its folders, and the names of its files."""
    folders = [folder for root in as_texts(roots) for folder in (root, texts.join_path(root, texts.NAME_PART))]
    names = machine.heap.sequence([text(texts.NAME_PART)], is_exact=False)
    found = Tuple((join(*(text(folder, is_path) for folder in folders)), (names,), (names,)))
    return (machine.heap.sequence([(found,)], is_exact=False),)


def _walk(machine: Machine, call: Call) -> Value:
    machine.recorder.record_use(machine, call.first(), LIST, call.node)
    return walk(machine, call.first())


def _list_names(machine: Machine, call: Call) -> Value:
    machine.recorder.record_use(machine, call.first(), LIST, call.node)
    return (machine.heap.sequence([text(texts.NAME_PART)], is_exact=False),)


def _scan(machine: Machine, call: Call) -> Value:
    machine.recorder.record_use(machine, call.first(), LIST, call.node)
    entry = machine.heap.instance(None, "entry")
    paths = [texts.join_path(folder, texts.NAME_PART) for folder in as_texts(call.first())]
    entry.attributes |= {"path": join(*(text(path) for path in paths)), "name": text(texts.NAME_PART)}
    return (machine.heap.sequence([(entry,)], is_exact=False),)


def _glob(machine: Machine, call: Call) -> Value:
    root = call.get(9, "root_dir")
    patterns = [
        texts.join_path(base, one) for base in (as_texts(root) if root else [""]) for one in as_texts(call.first())
    ]
    found = [expand_pattern(pattern) for pattern in patterns]
    machine.recorder.record_use(machine, join(*(text(texts.parent(path)) for path in found)), LIST, call.node)
    return (machine.heap.sequence([text(path) for path in found], is_exact=False),)


def _open(machine: Machine, call: Call) -> Value:
    path = call.get(0, "file") or UNKNOWN
    for direction in open_directions(call.get(1, "mode")):
        machine.recorder.record_use(machine, path, direction, call.node)
    return (File(path, call.name),)


def _open_descriptor(machine: Machine, call: Call) -> Value:
    flags = call.get(1, "flags") or ()
    is_read = any("O_RDONLY" in getattr(atom, "name", "") for atom in flags)
    machine.recorder.record_use(machine, call.first(), READ if is_read else TOUCH, call.node)
    return (Result("os.open"),)


def _temporary(machine: Machine, call: Call) -> Value:
    folder = call.arguments.keywords.get("dir") or constant("/tmp")
    path = join(*(text(texts.join_path(parent, texts.NAME_PART)) for parent in as_texts(folder)))
    is_folder = call.name.endswith(("mkdtemp", "TemporaryDirectory"))
    machine.recorder.record_use(machine, path, CREATE if is_folder else WRITE, call.node)
    if call.name.endswith("mkstemp"):
        return (Tuple(((Result("os.open"),), path)),)
    return path if is_folder else (File(path),)


def _move(machine: Machine, call: Call) -> Value:
    return join_all([call.get(1, "dst") or NONE])


FILE_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "builtins.open": _open,
    "io.open": _open,
    "codecs.open": _open,
    "gzip.open": _open,
    "bz2.open": _open,
    "lzma.open": _open,
    "smart_open.open": _open,
    "fsspec.open": _open,
    "tarfile.open": _open,
    "zipfile.ZipFile": _open,
    "h5py.File": _open,
    "os.open": _open_descriptor,
    "os.listdir": _list_names,
    "os.walk": _walk,
    "os.scandir": _scan,
    "glob.glob": _glob,
    "glob.iglob": _glob,
    "tempfile.mkdtemp": _temporary,
    "tempfile.mkstemp": _temporary,
    "tempfile.TemporaryDirectory": _temporary,
    "tempfile.NamedTemporaryFile": _temporary,
    "tempfile.TemporaryFile": _temporary,
    "shutil.copy": _move,
    "shutil.copy2": _move,
    "shutil.move": _move,
    "shutil.copytree": _move,
    "os.path.exists": lambda machine, call: BOOL,
    "os.path.isfile": lambda machine, call: BOOL,
    "os.path.isdir": lambda machine, call: BOOL,
    "os.path.islink": lambda machine, call: BOOL,
}
