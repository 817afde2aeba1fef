"""Define classes: dataclasses, pydantic models, enumerations and named tuples among them."""

from __future__ import annotations

import ast
from dataclasses import replace

from fusionzoo.contracts.static.argument_parsers import PARSERS
from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Class,
    External,
    Function,
    Instance,
    Result,
    Text,
    Value,
    constant,
)

DATACLASS_DECORATORS = (
    "dataclasses.dataclass",
    "pydantic.dataclasses.dataclass",
    "attr.s",
    "attr.attrs",
    "attr.dataclass",
    "attr.define",
    "attr.frozen",
    "attrs.define",
    "attrs.frozen",
    "attrs.mutable",
)
BASE_ROLES = {
    "pydantic.BaseModel": "pydantic",
    "pydantic.main.BaseModel": "pydantic",
    "pydantic.BaseSettings": "settings",
    "pydantic_settings.BaseSettings": "settings",
    "typing.NamedTuple": "namedtuple",
    "typing.TypedDict": "typed dict",
    "typing_extensions.TypedDict": "typed dict",
    "enum.Enum": "enum",
    "enum.IntEnum": "enum",
    "enum.StrEnum": "text enum",
    "enum.Flag": "enum",
    "transformers.TrainingArguments": "dataclass",
    **dict.fromkeys(PARSERS, "parser"),
}


def define_class(machine: Machine, node: ast.ClassDef) -> bool:
    bases: list[Class] = []
    external: list[str] = []
    for base_node in node.bases:
        for atom in machine.evaluate(base_node):
            if isinstance(atom, Class):
                bases.append(atom)
            elif isinstance(atom, External):
                external.append(atom.name)
    owner = Class(node.name, machine.frame.module, tuple(bases), tuple(external))
    owner.serial, owner.token = machine.heap.tick(), machine.heap.token
    owner.roles = frozenset(_find_roles(machine, node, external))
    frame = Frame(machine.frame.module, machine.frame, class_body=owner)
    frame.names["__qualname__"] = constant(node.name)
    with machine.running(frame):
        machine.execute(node.body)
    owner.attributes.update(frame.names)
    for name, value in owner.fields.items():
        if name in owner.attributes and (default := plain_default(value)):
            owner.attributes[name] = default
    if "enum" in owner.all_roles():
        _make_members(machine, owner)
    machine.frame.names[node.name] = (owner,)
    _announce(machine, node, owner)
    return True


def _announce(machine: Machine, node: ast.ClassDef, owner: Class) -> None:
    """Call the `__init_subclass__` of the bases of a class."""
    found = next((hook for base in owner.lineage()[1:] if (hook := base.attributes.get("__init_subclass__"))), None)
    if found is not None:
        keywords = {one.arg: machine.evaluate(one.value) for one in node.keywords if one.arg not in (None, "metaclass")}
        machine.call(found, Arguments([(owner,)], {str(name): value for name, value in keywords.items()}), node)


def _find_roles(machine: Machine, node: ast.ClassDef, external: list[str]) -> set[str]:
    roles = {BASE_ROLES[name] for name in external if name in BASE_ROLES}
    if "text enum" in roles or ("enum" in roles and "builtins.str" in external):
        roles |= {"enum", "text enum"}
    for decorator in node.decorator_list:
        called = decorator.func if isinstance(decorator, ast.Call) else decorator
        names = [atom.name for atom in machine.evaluate(called) if isinstance(atom, External)]
        if any(name in DATACLASS_DECORATORS for name in names):
            roles.add("dataclass")
    return roles


def plain_default(value: Value) -> Value:
    """Return the default that `dataclasses.field` or `pydantic.Field` gives; the value itself without them."""
    if len(value) == 1 and isinstance(value[0], Instance) and value[0].kind == "field":
        return value[0].attributes.get("default", ())
    return value


def _make_members(machine: Machine, owner: Class) -> None:
    """Turn the values of an enumeration into its members; a text enumeration's members are texts."""
    is_text = "text enum" in owner.all_roles()
    for name, value in list(owner.attributes.items()):
        if name.startswith("_") or any(isinstance(atom, Function | Class) for atom in value):
            continue
        if any(isinstance(atom, Result) and atom.name == "enum.auto" for atom in value) or value == UNKNOWN:
            value = constant(name.lower())
        if is_text and all(isinstance(atom, Text) for atom in value):
            owner.attributes[name] = tuple(replace(atom, owner=owner) for atom in value if isinstance(atom, Text))
            continue
        member = machine.heap.instance(owner, "enum")
        member.attributes |= {"value": value, "name": constant(name), "_value_": value, "_name_": constant(name)}
        owner.attributes[name] = (member,)
