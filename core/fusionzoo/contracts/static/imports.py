"""Import modules: those of the project are run, everything else is external and only named."""

from __future__ import annotations

import ast
from pathlib import Path

from fusionzoo.contracts.static.atoms import Frame, ModuleSource
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.values import UNKNOWN, External, ModuleValue, Value, literal


def import_modules(machine: Machine, node: ast.Import) -> bool:
    for alias in node.names:
        value = import_module(machine, alias.name, node)
        if alias.asname is not None:
            machine.frame.names[alias.asname] = value
        else:
            top = alias.name.partition(".")[0]
            is_nested = top != alias.name
            machine.frame.names[top] = _import_package(machine, top, value, node) if is_nested else value
    return True


def _import_package(machine: Machine, name: str, nested: Value, node: ast.AST) -> Value:
    value = import_module(machine, name, node)
    if isinstance(value[0], External) and isinstance(nested[0], ModuleValue):  # a folder without __init__.py
        return (ModuleValue(_namespace_package(machine, name)),)
    return value


def _namespace_package(machine: Machine, name: str) -> ModuleSource:
    module = ModuleSource(name, Path(name), ast.Module([], []), [], is_package=True)
    module.frame = Frame(module)
    return module


def import_module(machine: Machine, name: str, node: ast.AST) -> Value:
    """Return a module by its full name."""
    parts = name.split(".")
    for length in range(1, len(parts)):  # a package runs before its modules
        package = machine.finder.find(".".join(parts[:length]))
        if package is not None:
            machine.tables.run_module(machine, package, None)
    module = machine.finder.find(name)
    if module is None:
        line = getattr(node, "lineno", 0)
        machine.imported.setdefault(parts[0], (machine.frame.module, line))
        return (External(name),)
    machine.tables.run_module(machine, module, None)
    return (ModuleValue(module),)


def import_from(machine: Machine, node: ast.ImportFrom) -> bool:
    base = _resolve(machine.frame.module, node.module or "", node.level)
    module = import_module(machine, base, node) if base else UNKNOWN
    for alias in node.names:
        if alias.name == "*":
            _import_all(machine, module)
            continue
        machine.frame.names[alias.asname or alias.name] = import_name(machine, module, base, alias.name, node)
    return True


def _resolve(module: ModuleSource, name: str, level: int) -> str:
    """Return the full name of a module in `from ... import`; empty if it is outside of the project."""
    if not level:
        return name
    parts = module.package.split(".") if module.package else []
    parts = parts[: len(parts) - level + 1]
    return ".".join([*parts, *([name] if name else [])])


def import_name(machine: Machine, module: Value, base: str, name: str, node: ast.AST) -> Value:
    """Return a name of a module, or a module of a package."""
    for atom in module:
        if isinstance(atom, ModuleValue) and atom.module.frame is not None and name in atom.module.frame.names:
            return atom.module.frame.names[name]
    full_name = f"{base}.{name}" if base else name
    if machine.finder.find(full_name) is not None:
        return import_module(machine, full_name, node)
    if any(isinstance(atom, ModuleValue) for atom in module):
        return machine.get_attribute(module, name, node)  # its own `__getattr__`, or unknown
    return (External(full_name),)


def _import_all(machine: Machine, module: Value) -> None:
    for atom in module:
        if not isinstance(atom, ModuleValue) or atom.module.frame is None:
            continue
        names = atom.module.frame.names
        listed = names.get("__all__")
        exported = None if listed is None else {literal(item) for item in machine.iterate(listed, atom.module.tree)[0]}
        for name, value in list(names.items()):
            if name in exported if exported is not None else not name.startswith("_"):
                machine.frame.names[name] = value
