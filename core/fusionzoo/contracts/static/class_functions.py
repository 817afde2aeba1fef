"""Functions that make attributes of classes, and objects without their constructor: `property` and `object.__new__`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.values import NONE, UNKNOWN, Class, Function, Instance, Value

ROLE_OF_FUNCTION = {
    "builtins.property": "property",
    "functools.cached_property": "property",
    "builtins.staticmethod": "staticmethod",
    "builtins.classmethod": "classmethod",
}


def _give_role(machine: Machine, call: Call) -> Value:
    """Model `property(get)`, `staticmethod(f)` and the like, which are called instead of used as a decorator."""
    role = ROLE_OF_FUNCTION[call.name]
    functions = call.get(0, "fget") or call.get(0, "func") or UNKNOWN
    return tuple(replace(one, roles=one.roles | {role}) if isinstance(one, Function) else one for one in functions)


def _make_object(machine: Machine, call: Call) -> Value:
    """Model `object.__new__(cls)`."""
    found = tuple(machine.heap.instance(atom) for atom in call.first() if isinstance(atom, Class))
    return found or UNKNOWN


def _set_attribute(machine: Machine, call: Call) -> Value:
    """Model `object.__setattr__`, with which frozen dataclasses set their attributes."""
    name = get_constant_text(call.get(1))
    for atom in call.first():
        if isinstance(atom, Instance) and name is not None:
            machine.heap.set_attribute(atom, name, call.get(2) or UNKNOWN)
    return NONE


CLASS_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    **dict.fromkeys(ROLE_OF_FUNCTION, _give_role),
    "builtins.object.__new__": _make_object,
    "builtins.object.__setattr__": _set_attribute,
}
