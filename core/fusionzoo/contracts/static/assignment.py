"""Assign values to names, attributes, items and tuples of them."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.operators import single_key
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Class,
    External,
    Instance,
    Mapping,
    ModuleValue,
    Sequence,
    Value,
    join,
    join_all,
    number,
)


def assign(machine: Machine, target: ast.expr, value: Value) -> None:
    """Assign a value to a target."""
    if isinstance(target, ast.Name):
        assign_name(machine, target.id, value)
    elif isinstance(target, ast.Attribute):
        for atom in machine.evaluate(target.value):
            if isinstance(atom, Instance | Class):
                _assign_attribute(machine, atom, target, value)
            elif isinstance(atom, ModuleValue) and atom.module.frame is not None:
                atom.module.frame.names[target.attr] = value
    elif isinstance(target, ast.Subscript):
        _assign_item(machine, target, value)
    elif isinstance(target, ast.Tuple | ast.List):
        _unpack(machine, target.elts, value)
    elif isinstance(target, ast.Starred):
        assign(machine, target.value, value)


def assign_name(machine: Machine, name: str, value: Value) -> None:
    """Assign a value to a name of the frame that runs, or of the one that `global` or `nonlocal` selects."""
    frame = machine.frame.find_target(name)
    if frame is machine.frame:
        frame.names[name] = value
        return
    before = frame.names.get(name, ())
    after = value if machine.heap.is_sure(frame.token) or not before else join(before, value)
    if before != after:
        frame.names[name] = after
        machine.heap.record_change(frame.serial)


def _assign_attribute(machine: Machine, atom: Instance | Class, target: ast.Attribute, value: Value) -> None:
    owner = atom.owner if isinstance(atom, Instance) else None
    setter = None if owner is None else owner.find(f"{target.attr}.setter")
    if setter is not None:
        machine.call(setter, Arguments([(atom,), value]), target)
        return
    machine.heap.set_attribute(atom, target.attr, value)


def _assign_item(machine: Machine, target: ast.Subscript, value: Value) -> None:
    container, index = machine.evaluate(target.value), machine.evaluate(target.slice)
    for atom in container:
        if isinstance(atom, Mapping):
            machine.heap.set_item(atom, single_key(index), value)
        elif isinstance(atom, Sequence):
            position = number(index)
            if position is not None and -len(atom.items) <= position < len(atom.items):
                is_sure = atom.is_exact and machine.heap.is_sure(atom.token)
                atom.items[position] = value if is_sure else join(atom.items[position], value)
                machine.heap.record_change(atom.serial)
            else:
                machine.heap.append(atom, value)
                machine.heap.forget_order(atom)
        elif isinstance(atom, External) and atom.name == "os.environ":
            machine.heap.set_item(machine.environment, single_key(index), value)
        elif isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__setitem__"):
            setter = machine.get_attribute((atom,), "__setitem__", target)
            machine.call(setter, Arguments([index, value]), target)


def _unpack(machine: Machine, targets: list[ast.expr], value: Value) -> None:
    """Assign the items of a value to several targets; one may be starred."""
    starred = next((i for i, target in enumerate(targets) if isinstance(target, ast.Starred)), None)
    found: list[Value] = [() for _ in targets]
    for atom in value:
        items, is_exact = machine.iterate((atom,), targets[0])
        fits = len(items) == len(targets) if starred is None else len(items) >= len(targets) - 1
        if is_exact and fits:
            parts = items
            if starred is not None:
                after = len(targets) - starred - 1
                middle = machine.heap.sequence(items[starred : len(items) - after])
                parts = [*items[:starred], (middle,), *items[len(items) - after :]]
        else:
            parts = [_any_item(items)] * len(targets)
        found = [join(before, part) for before, part in zip(found, parts, strict=True)]
    for target, part in zip(targets, found, strict=True):
        assign(machine, target, part or UNKNOWN)


def _any_item(items: list[Value]) -> Value:
    return join_all(items)
