"""Create objects of classes of the project."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.environment import read_variable
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Class,
    Instance,
    Text,
    Value,
    constant,
    join_all,
    literal,
)

MODELED_ROLES = ("namedtuple", "parser")
"""What decides how the methods of an object work that its class inherits."""
FIELD_ROLES = frozenset({"dataclass", "pydantic", "settings", "namedtuple"})


def instantiate(machine: Machine, owner: Class, arguments: Arguments, node: ast.AST) -> Value:
    """Return a new object of a class, or the member of an enumeration with this value."""
    roles = owner.all_roles()
    if "enum" in roles:
        return _find_member(owner, arguments)
    instance = machine.heap.instance(owner, next((role for role in MODELED_ROLES if role in roles), ""))
    initializer = owner.find("__init__")
    if initializer is not None:
        machine.call(machine.get_attribute((instance,), "__init__", node), arguments, node)
    elif roles & FIELD_ROLES:
        set_fields(machine, instance, owner, arguments, node)
        for name in ("__post_init__", "model_post_init"):
            if owner.find(name):
                machine.call(machine.get_attribute((instance,), name, node), Arguments(rest=UNKNOWN), node)
    for base in owner.all_external_bases() if initializer is None and not roles & FIELD_ROLES else ():
        machine.recorder.record_call(machine, Call(base, arguments, node))
    return (instance,)


def _find_member(owner: Class, arguments: Arguments) -> Value:
    wanted = arguments.get(0, "value")
    known = None if wanted is None else literal(wanted)
    members = {name: value for name, value in owner.attributes.items() if not name.startswith("_")}
    for value in members.values():
        for atom in value:
            own = (atom,) if isinstance(atom, Text) else getattr(atom, "attributes", {}).get("value", ())
            if known is not None and literal(own) == known:
                return (atom,)
    return join_all(members.values())


def set_fields(machine: Machine, instance: Instance, owner: Class, arguments: Arguments, node: ast.AST) -> None:
    names = list(owner.all_fields().items())
    is_pydantic = bool(owner.all_roles() & {"pydantic", "settings"})
    position = 0
    for name, default in names:
        given = arguments.keywords.get(name)
        if given is None and not is_pydantic:
            given = arguments.get(position)
            position += 1
        if given is None:
            given = _default(machine, owner, name, default, node)
            if not given:
                given = arguments.rest or UNKNOWN
        instance.attributes[name] = given
    for name, value in arguments.keywords.items():
        instance.attributes.setdefault(name, value)


def _default(machine: Machine, owner: Class, name: str, default: Value, node: ast.AST) -> Value:
    """Return the default of a field; settings of pydantic take it from an environment variable first."""
    if len(default) == 1 and isinstance(default[0], Instance) and default[0].kind == "field":
        attributes = default[0].attributes
        if "default" in attributes:
            default = attributes["default"]
        elif "factory" in attributes:
            return machine.call(attributes["factory"], Arguments(), node) or UNKNOWN
        else:
            default = ()
    if "settings" in owner.all_roles():
        return read_variable(machine, constant(name.upper()), node, default or None)
    return default
