"""Context managers: what `with` binds, and what it calls."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.path_operations import FOLDER_CONTEXT
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    External,
    Instance,
    Result,
    Sequence,
    Text,
    Value,
    join_all,
    text,
)

SWALLOWING = ("contextlib.suppress", "pytest.raises", "contextlib.ExitStack")


def enter(machine: Machine, context: Value, node: ast.AST) -> Value:
    """Return what a `with` statement binds after `as`."""
    found: list[Value] = []
    for atom in context:
        if isinstance(atom, Sequence) and atom.kind == "context":
            found.append(join_all(atom.items))
        elif isinstance(atom, Instance) and atom.kind == FOLDER_CONTEXT:
            atom.attributes["before"] = text(machine.folder)
            machine.call((External("os.chdir"),), Arguments([atom.attributes["path"]]), node)
            found.append(NONE)
        elif isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__enter__"):
            method = machine.get_attribute((atom,), "__enter__", node)
            found.append(machine.call(method, Arguments(), node) or UNKNOWN)
        else:
            found.append((atom,))
    return join_all(found)


def leave(machine: Machine, context: Value, node: ast.AST) -> None:
    """Call what runs at the end of a `with` statement."""
    for atom in context:
        if isinstance(atom, Instance) and atom.kind == FOLDER_CONTEXT:
            machine.folder = next((one.value for one in atom.attributes["before"] if isinstance(one, Text)), "")
        if isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__exit__"):
            method = machine.get_attribute((atom,), "__exit__", node)
            machine.call(method, Arguments([NONE, NONE, NONE]), node)


def may_swallow(context: Value) -> bool:
    """Return whether a context manager may catch an exception, so that the program continues after the block."""
    return any(isinstance(atom, Sequence) or (isinstance(atom, Result) and atom.name in SWALLOWING) for atom in context)
