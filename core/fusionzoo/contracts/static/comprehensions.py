"""Evaluate comprehensions and `yield`."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from fusionzoo.contracts.static import operators
from fusionzoo.contracts.static.assignment import assign
from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.budget import MAX_ITEMS
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.narrowing import narrow, restore
from fusionzoo.contracts.static.values import NONE, UNKNOWN, Value, join_all


def comprehension_value(machine: Machine, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> Value:
    found: list[Value] = []
    is_exact = _comprehend(machine, node.generators, lambda: found.append(machine.evaluate(node.elt)))
    return (machine.heap.sequence(found, is_exact),)


def dict_comprehension_value(machine: Machine, node: ast.DictComp) -> Value:
    found = machine.heap.mapping()

    def add() -> None:
        key = operators.single_key(machine.evaluate(node.key))
        value = machine.evaluate(node.value)
        found.token = machine.heap.token  # filled here only
        machine.heap.set_item(found, key, value)

    token = machine.heap.token
    if not _comprehend(machine, node.generators, add):
        found.optional = set(found.entries)
        if not found.entries and not found.rest:
            found.rest = UNKNOWN
    found.token = token
    return (found,)


def _comprehend(machine: Machine, generators: list[ast.comprehension], add: Callable[[], None]) -> bool:
    """Run a comprehension and return whether the number of its items is known."""
    frame = Frame(machine.frame.module, machine.frame, is_comprehension=True)
    with machine.running(frame):
        return _run_generators(machine, generators, add)


def _run_generators(machine: Machine, generators: list[ast.comprehension], add: Callable[[], None]) -> bool:
    if not generators:
        add()
        return True
    first = generators[0]
    items, is_exact = machine.iterate(machine.evaluate(first.iter), first.iter)
    limit = max(1, MAX_ITEMS // machine.unrolled)
    if len(items) > limit:
        items, is_exact = [*items[: limit - 1], join_all(items[limit - 1 :])], False
    with machine.unrolling(len(items)):
        return _run_items(machine, generators, items, is_exact, add)


def _run_items(
    machine: Machine, generators: list[ast.comprehension], items: list[Value], is_exact: bool, add: Callable[[], None]
) -> bool:
    first, rest = generators[0], generators[1:]
    for item in items:
        assign(machine, first.target, item)
        truths = [operators.truth(machine.evaluate(test)) for test in first.ifs]
        if False in truths:
            continue
        narrowed = [change for test in first.ifs for change in narrow(machine, test, True)]
        if None in truths or not is_exact:
            with machine.heap.branch():
                _run_generators(machine, rest, add)
            is_exact = False
        else:
            is_exact &= _run_generators(machine, rest, add)
        restore(narrowed)
    return is_exact


def yield_value(machine: Machine, node: ast.Yield) -> Value:
    value = NONE if node.value is None else machine.evaluate(node.value)
    if machine.frame.yielded is not None:
        machine.heap.append(machine.frame.yielded, value)
    return UNKNOWN


def yield_from_value(machine: Machine, node: ast.YieldFrom) -> Value:
    items, is_exact = machine.iterate(machine.evaluate(node.value), node)
    if machine.frame.yielded is not None:
        for item in items:
            machine.heap.append(machine.frame.yielded, item)
        if not is_exact:
            machine.heap.forget_order(machine.frame.yielded)
    return UNKNOWN


COMPREHENSIONS: dict[type[ast.AST], Callable[[Machine, Any], Value]] = {
    ast.ListComp: comprehension_value,
    ast.SetComp: comprehension_value,
    ast.GeneratorExp: comprehension_value,
    ast.DictComp: dict_comprehension_value,
    ast.Yield: yield_value,
    ast.YieldFrom: yield_from_value,
}
