"""The methods of lists, sets, iterators, tuples and dicts."""

from __future__ import annotations

from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.operators import single_key, update_mapping
from fusionzoo.contracts.static.subscripts import get_entry
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    Mapping,
    Sequence,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    number,
)

SET_OPERATIONS = ("union", "intersection", "difference", "symmetric_difference", "copy")


def sequence_method(machine: Machine, call: Call, atom: Sequence | Tuple) -> Value:
    """Return the result of a method of a list, set, iterator or tuple."""
    items = items_of(atom) or []
    if call.name in ("pop", "popleft"):
        return _take(machine, call, atom, items)
    if call.name in SET_OPERATIONS:
        others = [item for value in call.arguments.positional for item in machine.iterate(value, call.node)[0]]
        is_exact = call.name == "copy" and getattr(atom, "is_exact", True)
        return (machine.heap.sequence([*items, *others], is_exact),)
    if not isinstance(atom, Sequence):
        return UNKNOWN
    if call.name in ("append", "add", "appendleft", "put"):
        machine.heap.append(atom, call.first())
    elif call.name in ("extend", "update"):
        for value in call.arguments.positional:
            added, is_exact = machine.iterate(value, call.node)
            for item in added:
                machine.heap.append(atom, item)
            if not is_exact:
                machine.heap.forget_order(atom)
    elif call.name == "insert":
        machine.heap.append(atom, call.get(1) or UNKNOWN)
        machine.heap.forget_order(atom)
    elif call.name in ("remove", "discard", "clear", "sort", "reverse"):
        machine.heap.forget_order(atom)
    else:
        return UNKNOWN
    return NONE


def _take(machine: Machine, call: Call, atom: Sequence | Tuple, items: list[Value]) -> Value:
    """Remove an item and return it; any item if it is not known which one."""
    default = constant(0 if call.name == "popleft" else -1)
    position = number(call.get(0, "index") or default)
    is_inside = position is not None and -len(items) <= position < len(items)
    if isinstance(atom, Sequence) and atom.is_exact and machine.heap.is_sure(atom.token) and is_inside:
        assert position is not None
        machine.heap.remove(atom, position)
        return items[position]
    if isinstance(atom, Sequence):
        machine.heap.forget_order(atom)
    return join_all(items)


def mapping_method(machine: Machine, call: Call, atom: Mapping) -> Value:
    """Return the result of a method of a dict."""
    if call.name in ("get", "pop"):
        default = call.get(1, "default")
        fallback = NONE if default is None and call.name == "get" else default or ()
        return get_entry(atom, call.first(), fallback)
    if call.name == "setdefault":
        key, default = single_key(call.first()), call.get(1) or NONE
        if key is None or key not in atom.entries:
            machine.heap.set_item(atom, key, default)
        return get_entry(atom, call.first())
    if call.name == "update":
        for value in call.arguments.positional:
            update_mapping(machine, atom, value)
        for name, value in call.arguments.keywords.items():
            machine.heap.set_item(atom, Text(name), value)
        return NONE
    if call.name == "copy":
        copied = machine.heap.mapping(atom.entries, atom.rest)
        copied.optional = set(atom.optional)
        return (copied,)
    if call.name in ("items", "keys", "values"):
        return _view(machine, call.name, atom)
    if call.name == "__getitem__":
        return get_entry(atom, call.first())
    return UNKNOWN


def _view(machine: Machine, name: str, atom: Mapping) -> Value:
    pairs: list[tuple[Value, Value]] = [((key,), value) for key, value in atom.entries.items()]
    if atom.rest:
        pairs.append((UNKNOWN, join(atom.rest)))
    if name == "items":
        items: list[Value] = [(Tuple(pair),) for pair in pairs]
    else:
        items = [pair[0] if name == "keys" else pair[1] for pair in pairs]
    return (machine.heap.sequence(items, is_exact=not atom.optional and not atom.rest),)
