"""Bind the arguments of a call to the parameters of a function."""

from __future__ import annotations

from fusionzoo.contracts.static.heap import Heap
from fusionzoo.contracts.static.machine import Arguments
from fusionzoo.contracts.static.values import UNKNOWN, Atom, Function, Text, Tuple, Value


def bind(function: Function, arguments: Arguments, heap: Heap) -> dict[str, Value]:
    """Return the parameters with their values. A missing argument has its default, or is unknown without one."""
    parameters = function.node.args
    positional = [parameter.arg for parameter in (*parameters.posonlyargs, *parameters.args)]
    names = [*positional, *(parameter.arg for parameter in parameters.kwonlyargs)]
    values = dict(zip(positional, arguments.positional, strict=False))
    extra = {name: value for name, value in arguments.keywords.items() if name not in names}
    values |= {name: value for name, value in arguments.keywords.items() if name in names and name not in values}
    for name in names:
        if name not in values:
            values[name] = function.extra_keywords.get(name) or function.defaults.get(name) or arguments.rest or UNKNOWN
    bound = {name: values[name] for name in names}
    if parameters.vararg is not None:
        bound[parameters.vararg.arg] = _bind_rest(arguments, len(positional), heap)
    if parameters.kwarg is not None:
        entries: dict[Atom, Value] = {Text(name): value for name, value in extra.items()}
        bound[parameters.kwarg.arg] = (heap.mapping(entries, arguments.rest),)
    return bound


def _bind_rest(arguments: Arguments, count: int, heap: Heap) -> Value:
    """Return the tuple of a `*args` parameter."""
    remaining = arguments.positional[count:]
    if arguments.rest:
        return (heap.sequence([*remaining, arguments.rest], is_exact=False),)
    return (Tuple(tuple(remaining)),)
