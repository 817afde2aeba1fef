"""Run statements. Each function returns whether the program continues after its statement."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, cast

from fusionzoo.contracts.static.assignment import assign
from fusionzoo.contracts.static.class_definitions import define_class
from fusionzoo.contracts.static.contexts import enter, leave, may_swallow
from fusionzoo.contracts.static.function_definitions import define_function
from fusionzoo.contracts.static.imports import import_from, import_modules
from fusionzoo.contracts.static.loops import merge_names, run_for, run_while
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.narrowing import narrow
from fusionzoo.contracts.static.operators import binary, compare, truth, update_mapping
from fusionzoo.contracts.static.values import NONE, UNKNOWN, Mapping, Sequence, Value


def run_expression(machine: Machine, node: ast.Expr) -> bool:
    return machine.evaluate_result(node.value) != ()


def run_assign(machine: Machine, node: ast.Assign) -> bool:
    value = machine.evaluate(node.value)
    for target in node.targets:
        assign(machine, target, value)
    return True


def run_annotated_assign(machine: Machine, node: ast.AnnAssign) -> bool:
    owner = machine.frame.class_body
    value = None if node.value is None else machine.evaluate(node.value)
    if owner is not None and isinstance(node.target, ast.Name) and "ClassVar" not in ast.unparse(node.annotation):
        owner.fields[node.target.id] = value or ()
    if value is not None:
        assign(machine, node.target, value)
    return True


def run_augmented_assign(machine: Machine, node: ast.AugAssign) -> bool:
    before, value = machine.evaluate(_as_loaded(node.target)), machine.evaluate(node.value)
    if len(before) == 1 and isinstance(before[0], Sequence) and isinstance(node.op, ast.Add | ast.BitOr):
        for item in machine.iterate(value, node)[0]:
            machine.heap.append(before[0], item)
        return True
    if isinstance(node.op, ast.BitOr) and _update_in_place(machine, before, value):
        return True
    operation = ast.copy_location(ast.BinOp(_as_loaded(node.target), node.op, node.value), node)
    assign(machine, node.target, binary(machine, operation, before, value))
    return True


def _update_in_place(machine: Machine, before: Value, value: Value) -> bool:
    """Run `|=` on a dict or on `os.environ`; return whether it was one."""
    target = before[0]
    if getattr(target, "name", "") == "os.environ":
        target = machine.environment
    if isinstance(target, Mapping):
        update_mapping(machine, target, value)
    return isinstance(target, Mapping)


def _as_loaded(target: ast.expr) -> ast.expr:
    return target  # the evaluation does not look at the context of a node


def run_return(machine: Machine, node: ast.Return) -> bool:
    machine.frame.returned.append(NONE if node.value is None else machine.evaluate(node.value))
    return False


def run_if(machine: Machine, node: ast.If) -> bool:
    condition = truth(machine.evaluate(node.test))
    if condition is not None:
        return machine.execute(node.body if condition else node.orelse)
    frame = machine.frame
    before, states = frame.names, []
    for body, is_true in ((node.body, True), (node.orelse, False)):
        frame.names = dict(before)
        machine.budget.steps += len(before) // 16
        with machine.heap.branch():
            narrow(machine, node.test, is_true)
            if machine.execute(body):
                states.append(frame.names)
    frame.names = merge_names(states) if states else before
    return bool(states)


def run_with(machine: Machine, node: ast.With | ast.AsyncWith) -> bool:
    contexts = []
    for item in node.items:
        context = machine.evaluate(item.context_expr)
        contexts.append(context)
        value = enter(machine, context, item.context_expr)
        if item.optional_vars is not None:
            assign(machine, item.optional_vars, value)
    before = len(machine.frame.returned)
    continues = machine.execute(node.body)
    for context in contexts:
        leave(machine, context, node)
    has_returned = len(machine.frame.returned) > before
    return continues or (not has_returned and any(may_swallow(context) for context in contexts))


def run_try(machine: Machine, node: ast.Try) -> bool:
    frame = machine.frame
    before, states = dict(frame.names), []
    continues = machine.execute(node.body)
    at_end = frame.names
    if continues and machine.execute(node.orelse):
        states.append(frame.names)
    for handler in node.handlers:
        frame.names = merge_names([before, at_end])
        if handler.name is not None:
            frame.names[handler.name] = UNKNOWN
        with machine.heap.branch():
            if machine.execute(handler.body):
                states.append(frame.names)
    frame.names = merge_names(states) if states else at_end
    return machine.execute(node.finalbody) and bool(states)


def run_raise(machine: Machine, node: ast.Raise) -> bool:
    if node.exc is not None:
        machine.evaluate(node.exc)
    return False


def run_assert(machine: Machine, node: ast.Assert) -> bool:
    condition = truth(machine.evaluate(node.test))
    narrow(machine, node.test, True)
    return condition is not False


def run_break(machine: Machine, node: ast.Break) -> bool:
    machine.frame.breaks.append(dict(machine.frame.names))
    return False


def run_continue(machine: Machine, node: ast.Continue) -> bool:
    machine.frame.continues.append(dict(machine.frame.names))
    return False


def run_global(machine: Machine, node: ast.Global) -> bool:
    machine.frame.global_names.update(node.names)
    return True


def run_nonlocal(machine: Machine, node: ast.Nonlocal) -> bool:
    machine.frame.nonlocal_names.update(node.names)
    return True


def run_delete(machine: Machine, node: ast.Delete) -> bool:
    for target in node.targets:
        if isinstance(target, ast.Name):
            machine.frame.names.pop(target.id, None)
    return True


def run_match(machine: Machine, node: ast.Match) -> bool:
    subject = machine.evaluate(node.subject)
    frame = machine.frame
    states: list[dict[str, Value]] = []
    before, is_decided = frame.names, False
    for case in node.cases:
        frame.names = dict(before)
        matches = _matches(machine, case.pattern, subject)
        if case.guard is not None and matches is not False:
            guard = truth(machine.evaluate(case.guard))
            matches = guard if matches else (None if guard is not False else False)
        if matches is False:
            continue
        if matches is True and not states:
            return machine.execute(case.body)
        with machine.heap.branch():
            if machine.execute(case.body):
                states.append(frame.names)
        if matches is True:
            is_decided = True
            break
    if not is_decided:
        states.append(before)
    frame.names = merge_names(states) if states else before
    return bool(states)


def _matches(machine: Machine, pattern: ast.pattern, subject: Value) -> bool | None:
    """Return whether a pattern matches, None if that is not known; assign the names that it captures."""
    if isinstance(pattern, ast.MatchValue):
        return compare(machine, ast.Eq(), subject, machine.evaluate(pattern.value), pattern)
    if isinstance(pattern, ast.MatchOr):
        results = [_matches(machine, inner, subject) for inner in pattern.patterns]
        return True if True in results else None if None in results else False
    if isinstance(pattern, ast.MatchAs):
        matches = True if pattern.pattern is None else _matches(machine, pattern.pattern, subject)
        if pattern.name is not None:
            machine.frame.names[pattern.name] = subject
        return matches
    if isinstance(pattern, ast.MatchSequence):
        parts = [inner for inner in pattern.patterns if not isinstance(inner, ast.MatchStar)]
        items, is_exact = machine.iterate(subject, pattern)
        fits = is_exact and len(items) == len(parts) == len(pattern.patterns)
        results = [_matches(machine, inner, items[i] if fits else UNKNOWN) for i, inner in enumerate(parts)]
        return False if False in results else True if fits and None not in results else None
    for inner in ast.walk(pattern):
        if isinstance(inner, ast.MatchAs) and inner.name is not None:
            machine.frame.names[inner.name] = UNKNOWN
    return None


def run_nothing(machine: Machine, node: ast.stmt) -> bool:
    return True


STATEMENTS = cast(
    "dict[type[ast.AST], Callable[[Machine, Any], bool]]",
    {
        ast.Expr: run_expression,
        ast.Assign: run_assign,
        ast.AnnAssign: run_annotated_assign,
        ast.AugAssign: run_augmented_assign,
        ast.Return: run_return,
        ast.If: run_if,
        ast.For: run_for,
        ast.AsyncFor: run_for,
        ast.While: run_while,
        ast.With: run_with,
        ast.AsyncWith: run_with,
        ast.Try: run_try,
        ast.TryStar: run_try,
        ast.Raise: run_raise,
        ast.Assert: run_assert,
        ast.Break: run_break,
        ast.Continue: run_continue,
        ast.Global: run_global,
        ast.Nonlocal: run_nonlocal,
        ast.Delete: run_delete,
        ast.Match: run_match,
        ast.FunctionDef: define_function,
        ast.AsyncFunctionDef: define_function,
        ast.ClassDef: define_class,
        ast.Import: import_modules,
        ast.ImportFrom: import_from,
        ast.Pass: run_nothing,
    },
)
