"""Create objects of classes of the project."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.environment import VARIABLE_KEYS, read_variable
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.values import (
    NONE_ATOM,
    UNKNOWN,
    Bound,
    Class,
    External,
    Instance,
    Mapping,
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
    if "typed dict" in roles:
        return machine.call((External("builtins.dict"),), arguments, node)
    created = _run_new(machine, owner, arguments, node)
    if len(created) == 1 and isinstance(created[0], Instance) and created[0].owner is owner:
        instance = created[0]
    elif created:
        return created
    else:
        instance = machine.heap.instance(owner, next((role for role in MODELED_ROLES if role in roles), ""))
    initializer = owner.find("__init__")
    if initializer is not None:
        machine.call(machine.get_attribute((instance,), "__init__", node), arguments, node)
    elif roles & FIELD_ROLES:
        set_fields(machine, instance, owner, arguments, node)
        for name in ("__post_init__", "model_post_init"):
            if owner.find(name):
                method = machine.get_attribute((instance,), name, node)
                machine.call(method, Arguments([], _find_initial_values(instance, method), UNKNOWN), node)
    for base in owner.all_external_bases() if initializer is None and not roles & FIELD_ROLES else ():
        machine.recorder.record_call(machine, Call(base, arguments, node))
    return (instance,)


def _find_initial_values(instance: Instance, method: Value) -> dict[str, Value]:
    """Return the values of the `InitVar` fields that a `__post_init__` takes."""
    functions = [atom.function for atom in method if isinstance(atom, Bound)]
    names = {parameter.arg for function in functions for parameter in function.node.args.args[1:]}
    return {name: value for name, value in instance.attributes.items() if name in names}


def _run_new(machine: Machine, owner: Class, arguments: Arguments, node: ast.AST) -> Value:
    """Return what the `__new__` of a class creates; () without one."""
    function = owner.find("__new__")
    if function is None:
        return ()
    own = Arguments([(owner,), *arguments.positional], arguments.keywords, arguments.rest)
    created = tuple(atom for atom in machine.call(function, own, node) if atom != NONE_ATOM)
    return () if created == UNKNOWN else created


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
    attributes: dict[str, Value] = {}
    if len(default) == 1 and isinstance(default[0], Instance) and default[0].kind == "field":
        attributes = default[0].attributes
        if "default" in attributes:
            default = attributes["default"]
        elif "factory" in attributes:
            default = machine.call(attributes["factory"], Arguments(), node) or UNKNOWN
        else:
            default = ()
    if "settings" in owner.all_roles():
        return _read_setting(machine, owner, name, attributes, node, default)
    return default


def _read_setting(
    machine: Machine, owner: Class, name: str, attributes: dict[str, Value], node: ast.AST, default: Value
) -> Value:
    """Return a field of settings: the value of its environment variable, or its default."""
    aliases = next((attributes[key] for key in VARIABLE_KEYS if key in attributes), ())
    variables: list[Value] = [constant(f"{_find_prefix(owner)}{name}".upper())]
    if aliases:
        variables = [
            item
            for atom in aliases
            for item in ([(atom,)] if isinstance(atom, Text) else machine.iterate((atom,), node)[0])
        ]
    return join_all(read_variable(machine, variable, node, default or None) for variable in variables)


def _find_prefix(owner: Class) -> str:
    """Return the prefix of the environment variables of a class of settings."""
    for atom in (*(owner.find("model_config") or ()), *(owner.find("Config") or ())):
        entries = atom.entries if isinstance(atom, Mapping) else {}
        found = atom.find("env_prefix") if isinstance(atom, Class) else entries.get(Text("env_prefix"))
        if prefix := literal(found or ()):
            return prefix
    return ""
