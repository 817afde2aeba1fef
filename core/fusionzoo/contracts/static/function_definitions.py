"""Define functions and apply their decorators."""

from __future__ import annotations

import ast
from dataclasses import replace

from fusionzoo.contracts.static.command_lines import TYPER_COMMANDS, add_click_option, add_typer_options
from fusionzoo.contracts.static.expressions import evaluate_arguments, evaluate_defaults
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Class,
    External,
    Function,
    Method,
    Partial,
    Result,
    Unknown,
    Value,
)

ROLES = {
    "builtins.property": "property",
    "functools.cached_property": "property",
    "pydantic.computed_field": "",
    "abc.abstractproperty": "property",
    "builtins.classmethod": "classmethod",
    "builtins.staticmethod": "staticmethod",
    "contextlib.contextmanager": "contextmanager",
    "contextlib.asynccontextmanager": "contextmanager",
    "functools.lru_cache": "",
    "functools.cache": "",
    "functools.wraps": "",
    "abc.abstractmethod": "",
    "typing.overload": "",
    "typing.override": "",
    "typing_extensions.override": "",
    "typing.no_type_check": "",
    "torch.no_grad": "",
    "torch.inference_mode": "",
    "torch.jit.ignore": "",
    "torch.jit.export": "",
    "lightning.pytorch.utilities.rank_zero_only": "",
    "lightning.pytorch.utilities.rank_zero.rank_zero_only": "",
    "pytorch_lightning.utilities.rank_zero_only": "",
    "pytorch_lightning.utilities.rank_zero.rank_zero_only": "",
    "pydantic.field_validator": "",
    "pydantic.model_validator": "",
    "pydantic.validator": "",
    "pydantic.root_validator": "",
    "hydra.main": "",
    "click.command": "",
    "click.group": "",
    "click.pass_context": "",
}
"""Decorators that leave a function as it is, and the role that they give it."""
OPTION_DECORATORS = ("click.option", "click.argument")


def define_function(machine: Machine, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    owner = machine.frame.class_body
    function = Function(node, machine.frame, evaluate_defaults(machine, node.args), owner)
    value: Value = (function,)
    for decorator in reversed(node.decorator_list):
        value = _decorate(machine, value, decorator)
    for atom in value:
        if isinstance(atom, Function) and "setter" in atom.roles:
            machine.frame.names[f"{node.name}.setter"] = value
            return True
    machine.frame.names[node.name] = value
    return True


def _decorate(machine: Machine, value: Value, node: ast.expr) -> Value:
    called = node.func if isinstance(node, ast.Call) else node
    if isinstance(called, ast.Attribute) and called.attr in ("setter", "getter", "deleter"):
        return _with_role(value, "setter")
    decorator = machine.evaluate(called)
    names = [atom.name for atom in decorator if isinstance(atom, External)]
    for name in names:
        if name in ROLES:
            return _with_role(value, ROLES[name])
        if name in OPTION_DECORATORS and isinstance(node, ast.Call):
            add_click_option(machine, value, evaluate_arguments(machine, node), node)
            return value
    if any(isinstance(atom, Function | Class | Partial) for atom in decorator) or isinstance(node, ast.Call):
        decorator = machine.evaluate(node)
    if any(isinstance(atom, Result) and atom.name in TYPER_COMMANDS for atom in decorator):
        add_typer_options(machine, value)
    if any(isinstance(atom, External | Method | Result | Unknown) for atom in decorator):
        machine.pending += [(atom, machine.frame) for atom in value]  # a library may call it
        return value
    result = machine.call(decorator, Arguments([value]), node)
    return value if result in ((), UNKNOWN) else result


def _with_role(value: Value, role: str) -> Value:
    if not role:
        return value
    return tuple(replace(atom, roles=atom.roles | {role}) if isinstance(atom, Function) else atom for atom in value)
