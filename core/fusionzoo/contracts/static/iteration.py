"""What loops and unpacking see of a value."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.signatures import distinct
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Atom,
    Class,
    Instance,
    Mapping,
    Method,
    Result,
    Sequence,
    Text,
    Unknown,
    Value,
    join,
    text,
)

MAX_CHARACTERS = 64
MAX_DISTINCT = 64  # items of a container with unknown length


def iterate(machine: Machine, value: Value, node: ast.AST) -> tuple[list[Value], bool]:
    """Return the items of a value, and whether these are all of them, in this order.

    Of items with the same texts and classes, one is enough if their number is not known.
    """
    items, is_exact = _iterate(machine, value, node)
    return (items if is_exact or len(items) < 2 else distinct(items)[:MAX_DISTINCT]), is_exact


def _iterate(machine: Machine, value: Value, node: ast.AST) -> tuple[list[Value], bool]:
    if len(value) == 1:
        return _iterate_atom(machine, value[0], node)
    found: dict[Value, None] = {}
    lists = [_iterate_atom(machine, atom, node) for atom in value]
    lengths = {len(items) for items, is_exact in lists if is_exact}
    if all(is_exact for _, is_exact in lists) and len(lengths) == 1:
        return [join(*group) for group in zip(*(items for items, _ in lists), strict=True)], True
    for items, _ in lists:
        found.update(dict.fromkeys(items))
    return list(found) or [UNKNOWN], False


def _iterate_atom(machine: Machine, atom: Atom, node: ast.AST) -> tuple[list[Value], bool]:
    items = items_of(atom)
    if items is not None:
        is_exact = not isinstance(atom, Sequence) or atom.is_exact
        if isinstance(atom, Mapping):
            is_exact = not atom.optional and not atom.rest
            items = [*items, UNKNOWN] if atom.rest else items
        return (items or ([] if is_exact else [UNKNOWN])), is_exact
    if isinstance(atom, Text) and not atom.is_path and texts.is_known(atom.value) and len(atom.value) < MAX_CHARACTERS:
        return [text(character) for character in atom.value], True
    if isinstance(atom, Class) and "enum" in atom.all_roles():
        members = [value for name, value in atom.attributes.items() if _is_member(name, value)]
        return members, True
    if isinstance(atom, Instance):
        return _iterate_instance(machine, atom, node)
    if isinstance(atom, Unknown | Result | Method | Text):
        return [UNKNOWN], False
    return [UNKNOWN], False


def _is_member(name: str, value: Value) -> bool:
    return not name.startswith("_") and all(isinstance(a, Text) or getattr(a, "kind", "") == "enum" for a in value)


def _iterate_instance(machine: Machine, atom: Instance, node: ast.AST) -> tuple[list[Value], bool]:
    if atom.kind == "namedtuple":
        return list(atom.attributes.values()), True
    if atom.owner is not None and atom.owner.find("__iter__"):
        result = machine.call(machine.get_attribute((atom,), "__iter__", node), Arguments(), node)
        if atom in result:
            found = machine.call(machine.get_attribute((atom,), "__next__", node), Arguments(), node)
            return [found or UNKNOWN], False
        return iterate(machine, result, node) if result else ([UNKNOWN], False)
    if atom.owner is not None and atom.owner.find("__getitem__"):
        found = machine.call(machine.get_attribute((atom,), "__getitem__", node), Arguments([UNKNOWN]), node)
        return [found or UNKNOWN], False
    return [UNKNOWN], False
