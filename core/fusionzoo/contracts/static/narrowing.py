"""In a branch, keep only the alternatives of a name for which the condition of the branch holds."""

from __future__ import annotations

import ast
from dataclasses import dataclass

from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.operators import filter_truth
from fusionzoo.contracts.static.values import NONE_ATOM, Class, External, Instance, Text, Tuple, Value


@dataclass(frozen=True)
class Narrowed:
    """A name with its value before and after it was narrowed."""

    frame: Frame
    name: str
    before: Value
    after: Value


def narrow(machine: Machine, test: ast.expr, is_true: bool) -> list[Narrowed]:
    """Assume that a condition is true, or false; return what has changed."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return narrow(machine, test.operand, not is_true)
    if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.And if is_true else ast.Or):
        return [change for operand in test.values for change in narrow(machine, operand, is_true)]
    name, kept = _narrow_name(machine, test, is_true)
    frame = machine.frame
    before = frame.names.get(name)
    if before is None or not kept or kept == before:
        return []
    frame.names[name] = kept
    return [Narrowed(frame, name, before, kept)]


def restore(changes: list[Narrowed]) -> None:
    """Undo changes, except for names that were assigned since then."""
    for change in reversed(changes):
        if change.frame.names.get(change.name) is change.after:
            change.frame.names[change.name] = change.before


def _narrow_name(machine: Machine, test: ast.expr, is_true: bool) -> tuple[str, Value]:
    """Return the name that a condition is about, and the alternatives for which it holds."""
    if isinstance(test, ast.NamedExpr):
        test = test.target
    if isinstance(test, ast.Name):
        return test.id, filter_truth(machine.frame.names.get(test.id, ()), is_true)
    if isinstance(test, ast.Compare) and len(test.ops) == 1:
        left, operation, right = test.left, test.ops[0], test.comparators[0]
        if isinstance(left, ast.NamedExpr):
            left = left.target
        is_none = isinstance(right, ast.Constant) and right.value is None
        if isinstance(left, ast.Name) and is_none and isinstance(operation, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
            keeps_none = isinstance(operation, ast.Is | ast.Eq) is is_true
            value = machine.frame.names.get(left.id, ())
            return left.id, tuple(atom for atom in value if _may_be_none(atom, keeps_none))
    if isinstance(test, ast.Call) and isinstance(test.func, ast.Name) and test.func.id == "isinstance" and is_true:
        return _narrow_type(machine, test)
    return "", ()


def _may_be_none(atom: object, expected: bool) -> bool:
    return (atom == NONE_ATOM) is expected or type(atom).__name__ in ("Unknown", "Result")


def _narrow_type(machine: Machine, test: ast.Call) -> tuple[str, Value]:
    if len(test.args) != 2 or not isinstance(test.args[0], ast.Name):
        return "", ()
    types = machine.evaluate(test.args[1])
    value = machine.frame.names.get(test.args[0].id, ())
    return test.args[0].id, tuple(atom for atom in value if is_of_type(atom, types) is not False)


def is_of_type(atom: object, types: Value) -> bool | None:
    """Return whether an object is of a type; None if that is not known."""
    flat = [inner for atom_type in types for inner in _flatten(atom_type)]
    names = {atom_type.name for atom_type in flat if isinstance(atom_type, External)}
    if isinstance(atom, Text):
        if atom.is_path:
            return any(name.endswith(("Path", "PathLike")) for name in names)
        return "builtins.str" in names
    if atom == NONE_ATOM:
        return False
    classes = [atom_type for atom_type in flat if isinstance(atom_type, Class)]
    if isinstance(atom, Instance) and atom.owner is not None:
        if any(base in classes for base in atom.owner.lineage()):
            return True
        return None if atom.owner.all_external_bases() and names else False
    return None


def _flatten(atom: object) -> list[object]:
    if isinstance(atom, Tuple):
        return [inner for item in atom.items for value in item for inner in _flatten(value)]
    return [atom]
