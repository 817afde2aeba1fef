"""Evaluate expressions."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from typing import Any, cast

from fusionzoo.contracts.static import operators
from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.budget import MAX_ITEMS
from fusionzoo.contracts.static.comprehensions import COMPREHENSIONS
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.narrowing import Narrowed, narrow, restore
from fusionzoo.contracts.static.subscripts import get_items
from fusionzoo.contracts.static.text import UNKNOWN_PART
from fusionzoo.contracts.static.values import (
    BOOL,
    UNKNOWN,
    Const,
    External,
    Function,
    Mapping,
    Super,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    text,
)

BUILTIN_NAMES = frozenset(dir(builtins))
MAX_PRODUCTS = 16  # of the alternatives of the parts of an f-string


def constant_value(machine: Machine, node: ast.Constant) -> Value:
    return constant(node.value)


def name_value(machine: Machine, node: ast.Name) -> Value:
    frame = machine.frame.find(node.id) if node.id not in machine.frame.global_names else machine.frame.module_frame()
    if frame is not None and node.id in frame.names:
        return frame.names[node.id]
    if node.id in BUILTIN_NAMES:
        return (External(f"builtins.{node.id}"),)
    return UNKNOWN


def attribute_value(machine: Machine, node: ast.Attribute) -> Value:
    return machine.get_attribute(machine.evaluate(node.value), node.attr, node)


def call_value(machine: Machine, node: ast.Call) -> Value:
    if isinstance(node.func, ast.Name) and node.func.id == "super" and not node.args:
        return super_value(machine)
    function = machine.evaluate(node.func)
    return machine.call(function, evaluate_arguments(machine, node), node)


def super_value(machine: Machine) -> Value:
    frame: Frame | None = machine.frame
    while frame is not None:  # a comprehension inside of a method has a frame of its own
        if frame.function is not None and frame.function.owner is not None and frame.names:
            receivers = next(iter(frame.names.values()))
            return tuple(Super(frame.function.owner, receiver) for receiver in receivers) or UNKNOWN
        frame = frame.parent
    return UNKNOWN


def evaluate_arguments(machine: Machine, node: ast.Call) -> Arguments:
    """Return the arguments of a call, with `*` and `**` arguments unpacked as far as they are known."""
    found = Arguments()
    for argument in node.args:
        if isinstance(argument, ast.Starred):
            items, is_exact = machine.iterate(machine.evaluate(argument.value), argument)
            if is_exact:
                found.positional += items
            else:
                found.rest = join(found.rest, *items) or UNKNOWN
        else:
            found.positional.append(machine.evaluate(argument))
    for keyword in node.keywords:
        value = machine.evaluate(keyword.value)
        if keyword.arg is not None:
            found.keywords[keyword.arg] = value
        else:
            add_keywords(found, value)
    return found


def add_keywords(arguments: Arguments, value: Value) -> None:
    """Add the entries of a `**` argument."""
    for atom in value:
        if not isinstance(atom, Mapping):
            arguments.rest = join(arguments.rest, UNKNOWN)
            continue
        for key, item in atom.entries.items():
            if isinstance(key, Text):
                arguments.keywords[key.value] = item
        if atom.rest:
            arguments.rest = join(arguments.rest, atom.rest)


def tuple_value(machine: Machine, node: ast.Tuple) -> Value:
    items, is_exact = evaluate_items(machine, node.elts)
    return (Tuple(tuple(items)),) if is_exact else (machine.heap.sequence(items, is_exact=False),)


def list_value(machine: Machine, node: ast.List | ast.Set) -> Value:
    items, is_exact = evaluate_items(machine, node.elts)
    return (machine.heap.sequence(items, is_exact),)


def evaluate_items(machine: Machine, nodes: list[ast.expr]) -> tuple[list[Value], bool]:
    """Return the values of the items of a display, and whether all of them are known."""
    found: list[Value] = []
    is_exact = True
    for node in nodes:
        if len(found) >= MAX_ITEMS and _is_plain(node):
            is_exact = False
        elif isinstance(node, ast.Starred):
            items, known = machine.iterate(machine.evaluate(node.value), node)
            found += items
            is_exact &= known
        else:
            found.append(_evaluate_item(machine, node))
    return found, is_exact


def _is_plain(node: ast.expr) -> bool:
    """Return whether an item of a display is data without a path; generated files have millions of such items."""
    return isinstance(node, ast.Constant) and not (isinstance(node.value, str) and "/" in node.value)


def _evaluate_item(machine: Machine, node: ast.expr) -> Value:
    """Return the value of an item of a display; constants cost no step."""
    return constant(node.value) if isinstance(node, ast.Constant) else machine.evaluate(node)


def dict_value(machine: Machine, node: ast.Dict) -> Value:
    found = machine.heap.mapping()
    for key_node, value_node in zip(node.keys, node.values, strict=True):
        if len(found.entries) >= MAX_ITEMS and key_node is not None and _is_plain(key_node) and _is_plain(value_node):
            found.rest = UNKNOWN
            continue
        value = _evaluate_item(machine, value_node)
        if key_node is None:
            operators.update_mapping(machine, found, value)
            continue
        key = _evaluate_item(machine, key_node)
        machine.heap.set_item(found, operators.single_key(key), value)
    return (found,)


def joined_text(machine: Machine, node: ast.JoinedStr) -> Value:
    results = [""]
    for part in node.values:
        if isinstance(part, ast.FormattedValue):
            value = operators.format_value(machine.evaluate(part.value), part.conversion, _format_spec(machine, part))
        else:
            value = machine.evaluate(part)
        pieces = [atom.value if isinstance(atom, Text) else UNKNOWN_PART for atom in value]
        results = list(dict.fromkeys(left + right for left in results for right in pieces))[:MAX_PRODUCTS]
    return join(*(text(result) for result in results))


def _format_spec(machine: Machine, node: ast.FormattedValue) -> str | None:
    """Return the format of a part of an f-string; None if it is not known."""
    if node.format_spec is None:
        return ""
    value = machine.evaluate(node.format_spec)
    return value[0].value if len(value) == 1 and isinstance(value[0], Text) else None


def binary_value(machine: Machine, node: ast.BinOp) -> Value:
    # A long sum is nested to the left: walk down instead of recursing, so that its length does not matter.
    chain: list[ast.BinOp] = []
    inner: ast.expr = node
    while isinstance(inner, ast.BinOp):
        chain.append(inner)
        inner = inner.left
    value = machine.evaluate(inner)
    for link in reversed(chain):
        value = operators.binary(machine, link, value, machine.evaluate(link.right))
    return value


def unary_value(machine: Machine, node: ast.UnaryOp) -> Value:
    value = machine.evaluate(node.operand)
    if isinstance(node.op, ast.Not):
        truth = operators.truth(value)
        return BOOL if truth is None else constant(not truth)
    if len(value) == 1 and isinstance(value[0], Const) and isinstance(value[0].value, int | float):
        return constant(-value[0].value) if isinstance(node.op, ast.USub) else value
    return UNKNOWN


def boolean_value(machine: Machine, node: ast.BoolOp) -> Value:
    found: Value = ()
    is_or = isinstance(node.op, ast.Or)
    narrowed: list[Narrowed] = []
    for position, operand in enumerate(node.values):
        value = machine.evaluate(operand)
        truth = operators.truth(value)
        if position == len(node.values) - 1:
            found = join(found, value)
            break
        if truth is None:
            found = join(found, operators.filter_truth(value, is_or))
        elif truth is is_or:
            found = join(found, value)
            break
        narrowed += narrow(machine, operand, not is_or)
    restore(narrowed)
    return found


def compare_value(machine: Machine, node: ast.Compare) -> Value:
    left = machine.evaluate(node.left)
    found: bool | None = True
    for operation, right_node in zip(node.ops, node.comparators, strict=True):
        right = machine.evaluate(right_node)
        result = operators.compare(machine, operation, left, right, node)
        if result is False:
            return constant(False)
        found = None if result is None or found is None else found
        left = right
    return BOOL if found is None else constant(found)


def conditional_value(machine: Machine, node: ast.IfExp) -> Value:
    truth = operators.truth(machine.evaluate(node.test))
    if truth is not None:
        return machine.evaluate(node.body if truth else node.orelse)
    results = []
    for branch, is_true in ((node.body, True), (node.orelse, False)):
        with machine.heap.branch():
            narrowed = narrow(machine, node.test, is_true)
            results.append(machine.evaluate(branch))
            restore(narrowed)
    return join(*results)


def subscript_value(machine: Machine, node: ast.Subscript) -> Value:
    value = machine.evaluate(node.value)
    if isinstance(node.slice, ast.Slice):
        bounds = [None if bound is None else machine.evaluate(bound) for bound in _bounds(node.slice)]
        return join_all(operators.take_slice(machine, atom, bounds) for atom in value)
    return get_items(machine, value, machine.evaluate(node.slice), node)


def _bounds(node: ast.Slice) -> tuple[ast.expr | None, ast.expr | None, ast.expr | None]:
    return node.lower, node.upper, node.step


def lambda_value(machine: Machine, node: ast.Lambda) -> Value:
    return (Function(node, machine.frame, evaluate_defaults(machine, node.args)),)


def evaluate_defaults(machine: Machine, arguments: ast.arguments) -> dict[str, Value]:
    """Return the defaults of a function's parameters."""
    positional = [*arguments.posonlyargs, *arguments.args]
    found = {}
    if arguments.defaults:
        for parameter, default in zip(positional[-len(arguments.defaults) :], arguments.defaults, strict=True):
            found[parameter.arg] = machine.evaluate(default)
    for parameter, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword_default is not None:
            found[parameter.arg] = machine.evaluate(keyword_default)
    return found


def named_value(machine: Machine, node: ast.NamedExpr) -> Value:
    value = machine.evaluate(node.value)
    frame = machine.frame
    while frame.class_body is None and frame.function is None and frame.parent is not None and frame.is_comprehension:
        frame = frame.parent  # a comprehension binds the name in the function around it
    frame.names[node.target.id] = value
    machine.frame.names[node.target.id] = value
    return value


def await_value(machine: Machine, node: ast.Await) -> Value:
    return machine.evaluate(node.value)


def starred_value(machine: Machine, node: ast.Starred) -> Value:
    return machine.evaluate(node.value)


EXPRESSIONS = cast(
    "dict[type[ast.AST], Callable[[Machine, Any], Value]]",
    {
        ast.Constant: constant_value,
        ast.Name: name_value,
        ast.Attribute: attribute_value,
        ast.Call: call_value,
        ast.Tuple: tuple_value,
        ast.List: list_value,
        ast.Set: list_value,
        ast.Dict: dict_value,
        ast.JoinedStr: joined_text,
        ast.BinOp: binary_value,
        ast.UnaryOp: unary_value,
        ast.BoolOp: boolean_value,
        ast.Compare: compare_value,
        ast.IfExp: conditional_value,
        ast.Subscript: subscript_value,
        ast.Lambda: lambda_value,
        ast.NamedExpr: named_value,
        **COMPREHENSIONS,
        ast.Await: await_value,
        ast.Starred: starred_value,
    },
)
