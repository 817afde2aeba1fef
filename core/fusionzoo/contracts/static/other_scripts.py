"""Other scripts of the project that a program runs: with `runpy`, in a process of their own, or by their path."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Callable, Iterable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.io_tables import COMMANDS
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.path_operations import as_texts
from fusionzoo.contracts.static.values import UNKNOWN, Mapping, ModuleValue, Text, Value, join_all

MAIN = "__main__"
PYTHON_SUFFIX = ".py"
LAUNCHERS = ("python", "torchrun", "accelerate", "deepspeed", "mpirun", "horovodrun", "nohup", "env", "time", "uv")
"""How the names of programs begin that run a Python script."""


def _find_script(machine: Machine, path: str, name: str) -> ModuleSource | None:
    """Return the script of the project at a path; a relative one starts in the folder of the analyzed script."""
    folder = machine.frames[0].module.path.parent
    known = path.replace(texts.CODE_PART, str(folder))
    return machine.finder.find_file(folder / known, name) if texts.is_known(known) else None


def _run(machine: Machine, module: ModuleSource | None, shown: str, node: ast.AST) -> Value:
    """Run a module as a script; a note says if it is not one of the project."""
    if module is None:
        machine.note(f"another script runs, which is not followed: {texts.show(shown)}", node)
        return UNKNOWN
    machine.tables.run_module(machine, module, MAIN)
    names = {} if module.frame is None else module.frame.names
    found = machine.heap.mapping()
    for name, value in names.items():
        machine.heap.set_item(found, Text(name), value)
    return (found,)


def _run_path(machine: Machine, call: Call) -> Value:
    paths = as_texts(call.get(0, "path_name") or UNKNOWN)
    return join_all(_run(machine, _find_script(machine, path, MAIN), path, call.node) for path in paths)


def _run_module_by_name(machine: Machine, call: Call) -> Value:
    name = get_constant_text(call.get(0, "mod_name")) or ""
    return _run(machine, machine.finder.find_script(name), name or texts.UNKNOWN_PART, call.node)


def _load_by_path(machine: Machine, call: Call) -> Value:
    """Model `importlib.util.spec_from_file_location`: the specification stands for its module."""
    name = get_constant_text(call.get(0, "name")) or "?"
    for path in as_texts(call.get(1, "location") or UNKNOWN):
        module = _find_script(machine, path, name)
        if module is not None:
            return (ModuleValue(module),)
    machine.note("a module is loaded from a file that is not followed", call.node)
    return UNKNOWN


def _make_module(machine: Machine, call: Call) -> Value:
    """Model `importlib.util.module_from_spec`: the module runs here, which is a little early."""
    for atom in call.first():
        if isinstance(atom, ModuleValue):
            machine.tables.run_module(machine, atom.module, None)
    return call.first()


def _run_command(machine: Machine, call: Call) -> None:  # the result of the process is not known
    """Follow a script of the project that runs in a process of its own."""
    command = call.get(0, "args") or call.get(0, "command") or call.get(0, "cmd") or UNKNOWN
    for atom in command:
        words = _split(atom.value) if isinstance(atom, Text) else _list_words(machine, atom, call)
        if not words or not _is_launcher(words[0]):
            continue
        if (module_name := _find_module_option(words)) is not None:
            _run(machine, machine.finder.find_script(module_name), module_name, call.node)
        elif (path := next((word for word in words if word.endswith(PYTHON_SUFFIX)), None)) is not None:
            _run(machine, _find_script(machine, path, MAIN), path, call.node)


def _is_launcher(program: str) -> bool:
    """Return whether a program runs Python scripts; an unknown one may be `sys.executable`."""
    name = program.rpartition("/")[2]
    return not texts.is_known(program) or name.startswith(LAUNCHERS) or name.endswith(PYTHON_SUFFIX)


def _list_words(machine: Machine, atom: object, call: Call) -> list[str]:
    if isinstance(atom, Mapping):
        return []
    items = machine.iterate((atom,), call.node)[0]  # type: ignore[arg-type]
    return [word for item in items for word in as_texts(item)[:1]]


def _split(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError:  # an open quote
        return command.split()


def _find_module_option(words: Iterable[str]) -> str | None:
    """Return the module of `python -m module`, before the name of a script; None if there is none."""
    before = ""
    for word in words:
        if before == "-m" and not word.startswith("torch."):
            return word
        if word.endswith(PYTHON_SUFFIX):
            return None
        before = word
    return None


SCRIPT_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "runpy.run_path": _run_path,
    "runpy.run_module": _run_module_by_name,
    "importlib.util.spec_from_file_location": _load_by_path,
    "importlib.util.module_from_spec": _make_module,
    **dict.fromkeys(COMMANDS, _run_command),
}
