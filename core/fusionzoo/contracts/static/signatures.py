"""Compare calls by what matters for paths: texts, constants, classes and functions, not the identity of objects."""

from __future__ import annotations

from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments
from fusionzoo.contracts.static.values import (
    Atom,
    Bound,
    Class,
    Const,
    External,
    File,
    Function,
    Instance,
    Mapping,
    ModuleValue,
    Partial,
    Text,
    Value,
)

MAX_DEPTH = 4
MAX_PARTS = 150  # of one signature
NUMBER = "number"


class _Builder:
    def __init__(self) -> None:
        self.parts: list[object] = []
        self.seen: set[int] = set()

    def add_value(self, value: Value, depth: int) -> None:
        for atom in value:
            self.add(atom, depth)
        self.parts.append(len(value))

    def add(self, atom: Atom, depth: int) -> None:
        if isinstance(atom, Text):
            self.parts.append(atom.value)
        elif isinstance(atom, Const):
            is_number = isinstance(atom.value, int | float) and not isinstance(atom.value, bool)
            self.parts.append(NUMBER if is_number else atom.type_name if atom.value else atom)
        elif isinstance(atom, External | Class | ModuleValue):
            self.parts.append(atom)
        elif depth <= 0 or len(self.parts) > MAX_PARTS or id(atom) in self.seen:
            self.parts.append(type(atom))
        else:
            self.seen.add(id(atom))
            self._add_parts(atom, depth - 1)

    def _add_parts(self, atom: Atom, depth: int) -> None:
        self.parts.append(type(atom))
        if isinstance(atom, Instance):
            self.parts.append(atom.owner or atom.kind)
            for name, value in atom.attributes.items():
                self.parts.append(name)
                self.add_value(value, depth)
        elif isinstance(atom, Function):
            self.parts.append(id(atom.node))
            if atom.frame.function is not None:
                for name, value in atom.frame.names.items():
                    self.parts.append(name)
                    self.add_value(value, depth - 1)
        elif isinstance(atom, Bound):
            self.add(atom.receiver, depth + 1)
            self.add(atom.function, depth + 1)
        elif isinstance(atom, Partial):
            for value in (atom.function, *atom.positional, *(value for _, value in atom.keywords)):
                self.add_value(value, depth)
        elif isinstance(atom, File):
            self.add_value(atom.path, depth)
        elif isinstance(atom, Mapping):
            for key, value in atom.entries.items():
                self.add(key, depth)
                self.add_value(value, depth)
            self.add_value(atom.rest, depth)
        else:
            for item in items_of(atom) or ():
                self.add_value(item, depth)


def sign(function: Function, arguments: Arguments) -> tuple[object, ...]:
    """Return the signature of a call: calls with the same signature use the same paths."""
    builder = _Builder()
    builder.add(function, MAX_DEPTH)
    for value in arguments.positional:
        builder.add_value(value, MAX_DEPTH)
    for name, value in arguments.keywords.items():
        builder.parts.append(name)
        builder.add_value(value, MAX_DEPTH)
    builder.add_value(arguments.rest, 1)
    return tuple(builder.parts)


def distinct(values: list[Value]) -> list[Value]:
    """Return the values without those that have the signature of an earlier one."""
    found: dict[tuple[object, ...], Value] = {}
    for value in values:
        builder = _Builder()
        builder.add_value(value, MAX_DEPTH)
        found.setdefault(tuple(builder.parts), value)
    return list(found.values())
