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
    Atom,
    File,
    Mapping,
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
PATH_NAMES = ("file", "filename", "name", "path")
"""The names of the first argument of functions such as `open`."""
MODE_POSITIONS = {"numpy.memmap": 2}
DEFAULT_MODES = {"numpy.memmap": "r+", "pandas.HDFStore": "a"}
OPENERS = (
    "builtins.open io.open io.FileIO codecs.open gzip.open gzip.GzipFile bz2.open bz2.BZ2File lzma.open lzma.LZMAFile"
    " tarfile.open tarfile.TarFile tarfile.TarFile.open zipfile.ZipFile wave.open aiofiles.open anyio.open_file"
    " smart_open.open smart_open.smart_open fsspec.open h5py.File pyarrow.OSFile numpy.memmap pandas.HDFStore"
    " tensorflow.io.gfile.GFile"
)
BOOLEAN_METHODS = ("exists", "is_file", "is_dir", "is_symlink", "is_fifo")


def open_directions(mode: Value | None) -> tuple[str, ...]:
    """Return what a file is opened for."""
    found = {_mode_directions(literal((atom,))) for atom in mode or constant("r")}
    return found.pop() if len(found) == 1 else (TOUCH,)


def _mode_directions(mode: str | None) -> tuple[str, ...]:
    if mode is None:
        return (TOUCH,)
    known = re.split("[:|]", mode)[0]  # tarfile: r:gz
    if "+" in known:
        return (READ, WRITE)
    return (WRITE,) if set("wax") & set(known) else (READ,)


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
    path = next((found for name in PATH_NAMES if (found := call.get(0, name)) is not None), UNKNOWN)
    mode = call.get(MODE_POSITIONS.get(call.name, 1), "mode") or constant(DEFAULT_MODES.get(call.name, "r"))
    if not {"fileobj", "fp"} & call.arguments.keywords.keys():
        for direction in open_directions(mode):
            machine.recorder.record_use(machine, path, direction, call.node)
    return (File(path, call.name),)


def _open_descriptor(machine: Machine, call: Call) -> Value:
    found = {_flag_directions(getattr(atom, "name", "")) for atom in call.get(1, "flags") or ()}
    for direction in found.pop() if len(found) == 1 else (TOUCH,):
        machine.recorder.record_use(machine, call.first(), direction, call.node)
    return (Result("os.open"),)


def _flag_directions(flags: str) -> tuple[str, ...]:
    """Return what the flags of `os.open` open a file for."""
    names = flags.split("|")
    if not all(name.startswith("os.O_") for name in names):
        return (TOUCH,)
    if "os.O_RDWR" in names:
        return (READ, WRITE)
    return (WRITE,) if "os.O_WRONLY" in names else (READ,)


def _temporary(machine: Machine, call: Call) -> Value:
    folder = call.arguments.keywords.get("dir") or constant("/tmp")
    path = join(*(text(texts.join_path(parent, texts.NAME_PART)) for parent in as_texts(folder)))
    is_folder = call.name.endswith(("mkdtemp", "TemporaryDirectory"))
    machine.recorder.record_use(machine, path, CREATE if is_folder else WRITE, call.node)
    if call.name.endswith("mkstemp"):
        return (Tuple(((Result("os.open"),), path)),)
    return path if is_folder else (File(path),)


def _configure_logging(machine: Machine, call: Call) -> Value:
    """Model `logging.config.dictConfig`: its handlers write files."""
    for configuration in call.get(0, "config") or ():
        for handlers in _get_all(configuration, "handlers"):
            for value in handlers.entries.values() if isinstance(handlers, Mapping) else ():
                for filename in (name for handler in value if (name := _get_all(handler, "filename"))):
                    machine.recorder.record_use(machine, filename, WRITE, call.node)
    return NONE


def _get_all(atom: Atom, key: str) -> Value:
    return atom.entries.get(Text(key), ()) if isinstance(atom, Mapping) else ()


def _move(machine: Machine, call: Call) -> Value:
    return join_all([call.get(1, "dst") or NONE])


FILE_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    **dict.fromkeys(OPENERS.split(), _open),
    "logging.config.dictConfig": _configure_logging,
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
