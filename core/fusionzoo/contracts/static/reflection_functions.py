"""Built-in functions that look at objects, classes, modules and code, and those that parse data."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.imports import import_module
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.narrowing import is_of_type
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.values import (
    BOOL,
    NONE,
    UNKNOWN,
    Class,
    Instance,
    Mapping,
    Method,
    Text,
    Tuple,
    Unknown,
    Value,
    constant,
    join,
    join_all,
    number,
    text,
)

MAX_CODE_POINT = 0xF0000  # the characters beyond are private
MAX_CODE = 20_000  # characters of a text that is run with exec or eval


def _is_instance(machine: Machine, call: Call) -> Value:
    types = call.get(1) or UNKNOWN
    results = {is_of_type(atom, types) for atom in call.first()}
    result = results.pop() if len(results) == 1 else None
    return BOOL if result is None else constant(result)


def _get_attribute(machine: Machine, call: Call) -> Value:
    name = get_constant_text(call.get(1))
    if name is None:
        machine.note("getattr with a name that is not known", call.node)
        return UNKNOWN
    default = call.get(2)
    found: list[Value] = []
    for atom in call.first():
        value = machine.get_attribute((atom,), name, call.node)
        is_missing = any(isinstance(one, Method | Unknown) for one in value) and not isinstance(atom, Text)
        found += [default] if is_missing and default is not None and isinstance(atom, Instance) else [value]
        if is_missing and default is not None and not isinstance(atom, Instance):
            found.append(default)
    return join_all(found)


def _set_attribute(machine: Machine, call: Call) -> Value:
    name = get_constant_text(call.get(1))
    for atom in call.first():
        if isinstance(atom, Instance | Class) and name is not None:
            machine.heap.set_attribute(atom, name, call.get(2) or UNKNOWN)
    return NONE


def _has_attribute(machine: Machine, call: Call) -> Value:
    name = get_constant_text(call.get(1))
    value = call.first()
    if name is not None and len(value) == 1 and isinstance(value[0], Instance):
        owner = value[0].owner
        if name in value[0].attributes or (owner is not None and owner.find(name)):
            return constant(True)
        if owner is not None and not owner.all_external_bases() and not owner.find("__getattr__"):
            return constant(False)
    return BOOL


def _vars(machine: Machine, call: Call) -> Value:
    if not call.arguments.positional:
        frame = machine.frame.module_frame() if call.name.endswith("globals") else machine.frame
        return (machine.heap.mapping({Text(name): value for name, value in frame.names.items()}),)
    found = [
        (machine.heap.mapping({Text(name): value for name, value in atom.attributes.items()}),)
        for atom in call.first()
        if isinstance(atom, Instance)
    ]
    return join(*found) or UNKNOWN


def _import(machine: Machine, call: Call) -> Value:
    names = [get_constant_text((atom,)) for atom in call.get(0, "name") or UNKNOWN]
    if None in names and not any(names):
        machine.note("a module is imported whose name is not known", call.node)
    return join_all(_import_by_name(machine, call, name) for name in names if name is not None)


def _import_by_name(machine: Machine, call: Call, name: str) -> Value:
    if name.startswith("."):
        package = get_constant_text(call.get(1, "package")) or machine.frame.module.package
        name = f"{package}{name}"
    if call.name == "builtins.__import__" and "fromlist" not in call.arguments.keywords:
        import_module(machine, name, call.node)
        name = name.partition(".")[0]
    return import_module(machine, name, call.node)


def _run_code(machine: Machine, call: Call) -> Value:
    code = get_constant_text(call.get(0))
    if code is None or len(code) > MAX_CODE:
        machine.note(f"code that is passed to {call.name.partition('.')[2]} is not known", call.node)
        return UNKNOWN
    try:
        if call.name == "builtins.eval":
            return machine.evaluate(ast.parse(code.strip(), mode="eval").body)
        body = ast.parse(code).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        machine.note("code that is passed as a text is not valid Python", call.node)
        return UNKNOWN
    machine.execute(body)
    return NONE


def _type(machine: Machine, call: Call) -> Value:
    values = call.arguments.positional
    if len(values) == 3:
        owner = Class(get_constant_text(values[0]) or "?", machine.frame.module, (), ())
        owner.serial, owner.token = machine.heap.tick(), machine.heap.token
        for atom in values[2]:
            if isinstance(atom, Mapping):
                owner.attributes |= {key.value: item for key, item in atom.entries.items() if isinstance(key, Text)}
        for item in machine.iterate(values[1], call.node)[0]:
            owner.bases += tuple(base for base in item if isinstance(base, Class))
        return (owner,)
    owners = [atom.owner for atom in call.first() if isinstance(atom, Instance) and atom.owner is not None]
    return tuple(owners) or UNKNOWN


def _character(machine: Machine, call: Call) -> Value:
    code = number(call.first())
    return text(texts.UNKNOWN_PART) if code is None or not 0 <= code < MAX_CODE_POINT else constant(chr(code))


def _parse_literal(machine: Machine, call: Call) -> Value:
    """Model `json.loads` and `ast.literal_eval` of a text that is known."""
    source = get_constant_text(call.first())
    if source is None:
        return UNKNOWN
    try:
        parsed = json.loads(source) if call.name == "json.loads" else ast.literal_eval(source)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        return UNKNOWN
    return from_object(machine, parsed)


def from_object(machine: Machine, value: object) -> Value:
    """Return the value of plain Python data."""
    if isinstance(value, dict):
        found = machine.heap.mapping()
        for key, item in value.items():
            machine.heap.set_item(found, constant(key)[0], from_object(machine, item))
        return (found,)
    if isinstance(value, list | tuple):
        items = [from_object(machine, item) for item in value]
        return (machine.heap.sequence(items),) if isinstance(value, list) else (Tuple(tuple(items)),)
    return constant(value) if isinstance(value, str | int | float | bool | None) else UNKNOWN


REFLECTION_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "isinstance": _is_instance,
    "issubclass": lambda machine, call: BOOL,
    "callable": lambda machine, call: BOOL,
    "getattr": _get_attribute,
    "setattr": _set_attribute,
    "hasattr": _has_attribute,
    "vars": _vars,
    "globals": _vars,
    "locals": _vars,
    "__import__": _import,
    "exec": _run_code,
    "eval": _run_code,
    "type": _type,
    "chr": _character,
}
IMPORT_FUNCTION = _import
PARSE_LITERAL = _parse_literal
