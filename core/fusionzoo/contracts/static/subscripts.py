"""Read items of containers, strings, environment variables and enumerations."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.environment import read_variable
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.operators import single_key
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    UNKNOWN_TEXT,
    Atom,
    Class,
    External,
    Instance,
    Mapping,
    Sequence,
    Text,
    Tuple,
    Value,
    join,
    join_all,
    number,
    text,
)


def get_items(machine: Machine, value: Value, index: Value, node: ast.AST) -> Value:
    """Return the item of a value at an index or key."""
    return join_all(_get_item(machine, atom, index, node) for atom in value)


def _get_item(machine: Machine, atom: Atom, index: Value, node: ast.AST) -> Value:
    if isinstance(atom, Mapping):
        return get_entry(atom, index)
    items = items_of(atom)
    if items is not None:
        return _get_position(atom, items, number(index))
    if isinstance(atom, Text):
        position = number(index)
        is_known = (
            position is not None and texts.is_known(atom.value) and -len(atom.value) <= position < len(atom.value)
        )
        return text(atom.value[position]) if is_known and position is not None else UNKNOWN_TEXT
    if isinstance(atom, External):
        if atom.name == "os.environ":
            return read_variable(machine, index, node)
        return text(texts.ARGUMENT_PART) if atom.name == "sys.argv" else (atom,)
    if isinstance(atom, Class):
        return get_member(atom, single_key(index))
    if isinstance(atom, Instance):
        if atom.owner is not None and atom.owner.find("__getitem__"):
            getter = machine.get_attribute((atom,), "__getitem__", node)
            return machine.call(getter, Arguments([index]), node) or UNKNOWN
        if atom.kind == "namedtuple":
            return _get_position(atom, list(atom.attributes.values()), number(index))
        if isinstance(key := single_key(index), Text) and key.value in atom.attributes:
            return atom.attributes[key.value]
    return UNKNOWN


def _get_position(atom: Atom, items: list[Value], position: int | None) -> Value:
    is_exact = isinstance(atom, Tuple | Instance) or (isinstance(atom, Sequence) and atom.is_exact)
    if is_exact and position is not None and -len(items) <= position < len(items):
        return items[position]
    return join_all(items)


def get_entry(mapping: Mapping, index: Value, default: Value | None = None) -> Value:
    """Return the value of a key; with the default as an alternative if the key may be absent."""
    key = single_key(index)
    if key is None:
        return join(*mapping.entries.values(), mapping.rest, default or ()) or UNKNOWN
    if key in mapping.entries:
        found = mapping.entries[key]
        return join(found, default) if default and key in mapping.optional else found
    return join(mapping.rest, default or ()) or UNKNOWN


def get_member(owner: Class, key: Atom | None) -> Value:
    """Return the member of an enumeration with this name; the class itself for anything else, such as `list[str]`."""
    if "enum" not in owner.all_roles():
        return (owner,)
    if isinstance(key, Text) and (found := owner.find(key.value)):
        return found
    return join_all(owner.attributes.values())
