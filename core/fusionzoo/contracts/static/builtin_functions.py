"""The built-in functions of Python."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.budget import MAX_ITERATIONS
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text, to_text, truth, update_mapping
from fusionzoo.contracts.static.values import (
    BOOL,
    NONE,
    UNKNOWN,
    Const,
    External,
    Instance,
    Sequence,
    Text,
    Tuple,
    Value,
    constant,
    join_all,
    number,
    text,
)

ENVIRONMENT = External("os.environ")


def _text(machine: Machine, call: Call) -> Value:
    value = call.get(0, "object")
    if value is None:
        return constant("")
    found = []
    for atom in value:
        if isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__str__"):
            method = machine.get_attribute((atom,), "__str__", call.node)
            found.append(machine.call(method, Arguments(), call.node) or UNKNOWN)
        else:
            found.append(to_text((atom,)))
    return join_all(found)


def _list(machine: Machine, call: Call) -> Value:
    if not call.arguments.positional:
        return (machine.heap.sequence(),)
    items, is_exact = machine.iterate(call.first(), call.node)
    if call.name in ("builtins.set", "builtins.frozenset"):
        items = list(dict.fromkeys(items))
    return (machine.heap.sequence(items, is_exact),)


def _tuple(machine: Machine, call: Call) -> Value:
    if not call.arguments.positional:
        return (Tuple(()),)
    items, is_exact = machine.iterate(call.first(), call.node)
    return (Tuple(tuple(items)),) if is_exact else (machine.heap.sequence(items, is_exact=False),)


def _sorted(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.first(), call.node)
    key = call.arguments.keywords.get("key")
    if key is not None and key != NONE and items:
        machine.call(key, Arguments([join_all(items)]), call.node)
    plain = [get_constant_text(item) for item in items]
    if is_exact and key is None and "reverse" not in call.arguments.keywords and None not in plain:
        items = sorted(items, key=lambda item: str(get_constant_text(item)))
        return (machine.heap.sequence(items),)
    return (machine.heap.sequence(items, (is_exact and len(items) < 2) or (is_exact and key is None and not items)),)


def _reversed(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.first(), call.node)
    return (machine.heap.sequence(items[::-1], is_exact),)


def _dict(machine: Machine, call: Call) -> Value:
    if call.arguments.positional == [(ENVIRONMENT,)] and not call.arguments.keywords:
        return (ENVIRONMENT,)  # a copy of the environment
    found = machine.heap.mapping()
    for value in call.arguments.positional:
        for atom in value:
            if isinstance(atom, Instance) and atom.kind == "namespace":
                found.entries |= {Text(name): item for name, item in atom.attributes.items()}
        update_mapping(machine, found, value)
    for name, value in call.arguments.keywords.items():
        machine.heap.set_item(found, Text(name), value)
    if call.arguments.rest:
        machine.heap.set_item(found, None, call.arguments.rest)
    return (found,)


def _enumerate(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.first(), call.node)
    start = number(call.get(1, "start") or constant(0))
    is_counted = is_exact and start is not None
    pairs: list[Value] = [
        (Tuple((constant(i + (start or 0)) if is_counted else UNKNOWN, item)),) for i, item in enumerate(items)
    ]
    return (machine.heap.sequence(pairs, is_exact),)


def _zip(machine: Machine, call: Call) -> Value:
    columns = [machine.iterate(value, call.node) for value in call.arguments.positional]
    if not columns or call.arguments.rest:
        return UNKNOWN
    if all(is_exact for _, is_exact in columns):
        rows: list[Value] = [(Tuple(row),) for row in zip(*(items for items, _ in columns), strict=False)]
        return (machine.heap.sequence(rows),)
    width = max(len(items) for items, _ in columns)
    padded = [items if is_exact or len(items) == width else [join_all(items)] * width for items, is_exact in columns]
    rows = [(Tuple(tuple(row)),) for row in zip_longest(*padded, fillvalue=UNKNOWN)]
    return (machine.heap.sequence(rows, is_exact=False),)


def _map(machine: Machine, call: Call) -> Value:
    columns = [machine.iterate(value, call.node) for value in call.arguments.positional[1:]]
    if not columns:
        return UNKNOWN
    is_exact = all(exact for _, exact in columns)
    rows = list(zip_longest(*(items[:MAX_ITERATIONS] for items, _ in columns), fillvalue=UNKNOWN))
    results = [machine.call(call.first(), Arguments(list(row)), call.node) or UNKNOWN for row in rows]
    return (machine.heap.sequence(results, is_exact),)


def _filter(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.get(1) or UNKNOWN, call.node)
    kept: list[Value] = []
    for item in items[:MAX_ITERATIONS]:
        result = item if call.first() == NONE else machine.call(call.first(), Arguments([item]), call.node)
        is_kept = truth(result)
        if is_kept is not False:
            kept.append(item)
            is_exact &= is_kept is True
    return (machine.heap.sequence(kept, is_exact),)


def _range(machine: Machine, call: Call) -> Value:
    bounds = [number(value) for value in call.arguments.positional]
    if None not in bounds and bounds:
        known = range(*(bound for bound in bounds if bound is not None)) if bounds[2:] != [0] else range(0)
        if len(known) <= MAX_ITERATIONS:
            return (machine.heap.sequence([constant(i) for i in known]),)
    return (machine.heap.sequence([UNKNOWN], is_exact=False),)


def _next(machine: Machine, call: Call) -> Value:
    found = []
    for atom in call.first():
        if isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__next__"):
            found.append(machine.call(machine.get_attribute((atom,), "__next__", call.node), Arguments(), call.node))
            continue
        items, is_exact = machine.iterate((atom,), call.node)
        is_first_known = is_exact and items and isinstance(atom, Sequence)
        found.append(items[0] if is_first_known else join_all(items))
        if not is_first_known:
            found.append(call.get(1) or ())
        if isinstance(atom, Sequence):
            machine.heap.forget_order(atom)
    return join_all(found)


def _same(machine: Machine, call: Call) -> Value:
    return call.first()


def _length(machine: Machine, call: Call) -> Value:
    value = call.first()
    if len(value) == 1:
        items = items_of(value[0])
        is_exact = getattr(value[0], "is_exact", True) and not getattr(value[0], "optional", ())
        if items is not None and is_exact and not getattr(value[0], "rest", ()):
            return constant(len(items))
        if isinstance(value[0], Text) and texts.is_known(value[0].value):
            return constant(len(value[0].value))
    return UNKNOWN


def _convert(machine: Machine, call: Call) -> Value:
    value = call.first()
    if call.name == "builtins.bool":
        result = truth(value)
        return BOOL if result is None else constant(result)
    known = value[0].value if len(value) == 1 and isinstance(value[0], Const | Text) else None
    if known is None or not texts.is_known(str(known)[:100]):
        return UNKNOWN
    try:
        return constant((int if call.name == "builtins.int" else float)(known))
    except (ValueError, TypeError, OverflowError):
        return UNKNOWN


def _any_item(machine: Machine, call: Call) -> Value:
    values = call.arguments.positional
    items = machine.iterate(values[0], call.node)[0] if len(values) == 1 else values
    key = call.arguments.keywords.get("key")
    if key is not None and key != NONE:
        machine.call(key, Arguments([join_all(items)]), call.node)
    return join_all([*items, *([call.arguments.keywords["default"]] if "default" in call.arguments.keywords else [])])


def _all_or_any(machine: Machine, call: Call) -> Value:
    items, is_exact = machine.iterate(call.first(), call.node)
    truths = [truth(item) for item in items]
    wanted = call.name == "builtins.any"
    if is_exact and wanted in truths:
        return constant(wanted)
    return constant(not wanted) if is_exact and None not in truths else BOOL


def _input(machine: Machine, call: Call) -> Value:
    return text(texts.ARGUMENT_PART)


BUILTIN_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "str": _text,
    "repr": _text,
    "format": _text,
    "ascii": _text,
    "list": _list,
    "set": _list,
    "frozenset": _list,
    "iter": _list,
    "tuple": _tuple,
    "sorted": _sorted,
    "reversed": _reversed,
    "dict": _dict,
    "enumerate": _enumerate,
    "zip": _zip,
    "map": _map,
    "filter": _filter,
    "range": _range,
    "next": _next,
    "aiter": _same,
    "anext": _next,
    "len": _length,
    "int": _convert,
    "float": _convert,
    "bool": _convert,
    "min": _any_item,
    "max": _any_item,
    "any": _all_or_any,
    "all": _all_or_any,
    "input": _input,
    "print": lambda machine, call: NONE,
}
SAME = _same
MAP = _map
LIST = _list
DICT = _dict
