"""Look up attributes."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.class_definitions import plain_default
from fusionzoo.contracts.static.command_lines import ABSL_FLAGS
from fusionzoo.contracts.static.imports import import_module
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.path_operations import path_attribute
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    UNKNOWN_ATOM,
    Atom,
    Bound,
    Class,
    External,
    File,
    Function,
    Instance,
    Mapping,
    Method,
    ModuleValue,
    Partial,
    Sequence,
    Super,
    Text,
    Tuple,
    Unknown,
    Value,
    constant,
)


def get_attribute(machine: Machine, atom: Atom, name: str, node: ast.AST) -> Value:
    """Return an attribute of one alternative."""
    if isinstance(atom, Text):
        return _text_attribute(machine, atom, name, node)
    if isinstance(atom, External):
        is_flag = atom.name == ABSL_FLAGS and name in machine.flags
        return machine.flags[name] if is_flag else _external_attribute(atom, name)
    if isinstance(atom, Instance):
        return _instance_attribute(machine, atom, name, node)
    if isinstance(atom, Class):
        return _class_attribute(machine, atom, name, node)
    if isinstance(atom, ModuleValue):
        return _module_attribute(machine, atom, name, node)
    if isinstance(atom, Super):
        return _super_attribute(machine, atom, name)
    if isinstance(atom, File) and name == "name":
        return atom.path
    if isinstance(atom, Partial) and name == "func":
        return atom.function
    if isinstance(atom, Function | Bound) and name in ("__name__", "__qualname__"):
        return constant(atom.name if isinstance(atom, Function) else atom.function.name)
    if isinstance(atom, Method):  # an attribute of an object that is not known
        return (Method(UNKNOWN_ATOM, name),)
    if isinstance(atom, Unknown | Sequence | Mapping | Tuple | File) or not isinstance(atom, Function | Bound):
        return (Method(atom, name),)
    return UNKNOWN


def _text_attribute(machine: Machine, atom: Text, name: str, node: ast.AST) -> Value:
    """Return an attribute of a string, which may be a member of an enumeration with methods of its own."""
    found = () if atom.owner is None else atom.owner.find(name) or ()
    if atom.owner is not None and any(isinstance(one, Function) for one in found):
        return _bind_all(machine, found, atom, atom.owner, node)
    return path_attribute(atom, name)


def _external_attribute(atom: External, name: str) -> Value:
    if atom.name == "os" and name in ("sep", "pathsep", "curdir", "pardir"):
        return constant({"sep": "/", "pathsep": ":", "curdir": ".", "pardir": ".."}[name])
    if atom.name == "os.path" and name == "sep":
        return constant("/")
    if atom.name == "os" and name == "environb":
        return UNKNOWN
    return (External(f"{atom.name}.{name}"),) if atom.name.count(".") < 12 else UNKNOWN


def _instance_attribute(machine: Machine, atom: Instance, name: str, node: ast.AST) -> Value:
    if name in atom.attributes:
        return atom.attributes[name]
    if name == "__dict__":
        found_names = machine.heap.mapping({Text(key): value for key, value in atom.attributes.items()})
        found_names.owner = atom
        return (found_names,)
    if atom.owner is None:
        return (Method(atom, name),)
    found = atom.owner.find(name)
    if found is not None:
        return _bind_all(machine, found, atom, atom.owner, node)
    if name == "__class__":
        return (atom.owner,)
    getter = atom.owner.find("__getattr__")
    if getter is not None:
        return machine.call(_bind_all(machine, getter, atom, atom.owner, node), Arguments([constant(name)]), node)
    return (Method(atom, name),)


def _bind_all(machine: Machine, value: Value, receiver: Atom, owner: Class, node: ast.AST) -> Value:
    """Return a class attribute as an object or class sees it."""
    found: list[Atom] = []
    for atom in value:
        if isinstance(atom, Instance) and atom.owner is not None and atom.owner.find("__get__"):
            getter = _bind_all(machine, atom.owner.find("__get__") or (), atom, atom.owner, node)
            seen = NONE if isinstance(receiver, Class) else (receiver,)
            found += machine.call(getter, Arguments([seen, (owner,)]), node) or UNKNOWN
        elif not isinstance(atom, Function):
            found += plain_default((atom,)) or (atom,)
        elif "property" in atom.roles and isinstance(receiver, Instance | Text):
            found += machine.call((atom,), Arguments([(receiver,)]), node) or UNKNOWN
        elif "classmethod" in atom.roles:
            found.append(Bound(owner, atom))
        elif "staticmethod" in atom.roles or isinstance(receiver, Class):
            found.append(atom)
        else:
            found.append(Bound(receiver, atom))
    return tuple(dict.fromkeys(found))


def _class_attribute(machine: Machine, atom: Class, name: str, node: ast.AST) -> Value:
    found = atom.find(name)
    if found is not None:
        return _bind_all(machine, found, atom, atom, node)
    if name in ("__name__", "__qualname__"):
        return constant(atom.name)
    if name == "__members__":
        return (machine.heap.mapping({Text(k): v for k, v in atom.attributes.items() if not k.startswith("_")}),)
    return (Method(atom, name),)


def _module_attribute(machine: Machine, atom: ModuleValue, name: str, node: ast.AST) -> Value:
    frame = atom.module.frame
    if frame is not None and name in frame.names:
        return frame.names[name]
    full_name = f"{atom.module.name}.{name}"
    if machine.finder.find(full_name) is not None:
        return import_module(machine, full_name, node)
    getter = () if frame is None else frame.names.get("__getattr__", ())
    return machine.call(getter, Arguments([constant(name)]), node) or UNKNOWN if getter else UNKNOWN


def _super_attribute(machine: Machine, atom: Super, name: str) -> Value:
    """Return an attribute of the bases of a class, bound to the object."""
    receiver = atom.receiver
    start = receiver.owner if isinstance(receiver, Instance) and receiver.owner is not None else atom.owner
    lineage = start.lineage()
    after = lineage[lineage.index(atom.owner) + 1 :] if atom.owner in lineage else atom.owner.lineage()[1:]
    for base in after:
        if name in base.attributes:
            return _bind_all(machine, base.attributes[name], receiver, base, ast.Pass())
    if isinstance(receiver, Instance) and receiver.kind == "parser" and name != "__init__":
        return (Method(receiver, name),)
    if name in ("__new__", "__setattr__"):
        function: Value = (External(f"builtins.object.{name}"),)
        return function if name == "__new__" else (Partial(function, ((receiver,),), ()),)
    external = [base for owner in [atom.owner, *after] for base in owner.external_bases]
    if name == "__init__" and isinstance(receiver, Instance):
        fields = next((base for base in after if base.fields), None)
        if fields is not None:
            return (Method(receiver, "__init__"),)
    return tuple(External(f"{base}.{name}") for base in external) or UNKNOWN
