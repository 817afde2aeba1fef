"""Run loops: item by item where the items are known, otherwise until the names no longer change."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fusionzoo.contracts.static.assignment import assign
from fusionzoo.contracts.static.atoms import Frame
from fusionzoo.contracts.static.budget import MAX_ITERATIONS, MAX_UNROLLED
from fusionzoo.contracts.static.machine import Machine
from fusionzoo.contracts.static.narrowing import narrow
from fusionzoo.contracts.static.operators import truth
from fusionzoo.contracts.static.values import UNKNOWN, Value, join, join_all

Names = dict[str, Value]
MAX_PASSES = 3
MAX_SHORT = 8  # items of a loop that is always unrolled


def merge_names(states: list[Names]) -> Names:
    """Return the names after several branches."""
    first, *others = states
    merged = dict(first)
    for other in others:
        for name, value in other.items():
            before = merged.get(name)
            if before is None:
                merged[name] = value
            elif before is not value and before != value:
                merged[name] = join(before, value)
    return merged


@contextmanager
def _loop(frame: Frame) -> Iterator[None]:
    """In the block, `break` and `continue` belong to this loop."""
    breaks, continues = frame.breaks, frame.continues
    frame.breaks, frame.continues = [], []
    try:
        yield
    finally:
        frame.breaks, frame.continues = breaks, continues


def _find_limit(machine: Machine, count: int = MAX_ITERATIONS) -> int:
    """Return how often a loop over some items is unrolled: inside of loops that are, less often unless it is short."""
    limit = MAX_ITERATIONS if machine.unrolled == 1 else min(MAX_ITERATIONS, MAX_UNROLLED // machine.unrolled)
    return max(limit, count if count <= MAX_SHORT else 0)


def _run_body(machine: Machine, body: list[ast.stmt]) -> bool:
    """Run the body once; return whether the loop can continue."""
    frame = machine.frame
    states = [frame.names] if machine.execute(body) else []
    states += frame.continues
    frame.continues = []
    if states:
        frame.names = merge_names(states)
    return bool(states)


def run_for(machine: Machine, node: ast.For | ast.AsyncFor) -> bool:
    items, is_exact = machine.iterate(machine.evaluate(node.iter), node)
    frame = machine.frame
    with _loop(frame):
        is_alive = True
        if is_exact:
            limit = _find_limit(machine, len(items))
            with machine.unrolling(min(limit, len(items))):
                for item in items[:limit]:
                    assign(machine, node.target, item)
                    is_alive = _run_body(machine, node.body)
                    if not is_alive:
                        break
            items = items[limit:]
        if items and is_alive:
            values = items if len(items) <= MAX_ITERATIONS and not is_exact else [join_all(items)]

            def run_once() -> None:
                for value in values:
                    before = dict(frame.names)
                    assign(machine, node.target, value)
                    if not _run_body(machine, node.body):
                        frame.names = before
                    else:
                        frame.names = merge_names([before, frame.names])

            _run_until_stable(machine, run_once)
        return _finish(machine, node.orelse, is_alive)


def run_while(machine: Machine, node: ast.While) -> bool:
    frame = machine.frame
    with _loop(frame):
        condition = truth(machine.evaluate(node.test))
        is_constant = isinstance(node.test, ast.Constant)
        count = 0
        limit = _find_limit(machine)
        while condition is True and not is_constant and count < limit:
            count += 1
            with machine.unrolling(count):
                is_alive = _run_body(machine, node.body)
            if not is_alive:
                return _finish(machine, [], False)
            condition = truth(machine.evaluate(node.test))
        if condition is not False:

            def run_once() -> None:
                before = dict(frame.names)
                machine.evaluate(node.test)
                narrow(machine, node.test, True)
                if not _run_body(machine, node.body):
                    frame.names = before
                else:
                    frame.names = merge_names([before, frame.names])

            if is_constant and condition:
                run_once()
            _run_until_stable(machine, run_once)
        return _finish(machine, node.orelse, not (is_constant and condition is True))


def _run_until_stable(machine: Machine, run_once: Callable[[], None]) -> None:
    """Run a body that may run any number of times. A name that still changes afterwards becomes unknown."""
    frame = machine.frame
    passes = MAX_PASSES if machine.unrolled < MAX_UNROLLED else 1
    with machine.heap.branch(), machine.unrolling(passes):
        for number in range(passes):
            before = dict(frame.names)
            run_once()
            changed = [name for name, value in frame.names.items() if before.get(name) != value]
            if not changed:
                return
            if number == max(0, passes - 2):
                for name in changed:
                    frame.names[name] = join(frame.names[name], UNKNOWN)


def _finish(machine: Machine, otherwise: list[ast.stmt], is_alive: bool) -> bool:
    """Run the `else` of a loop, and join the names at its end with those at each `break`."""
    frame = machine.frame
    states = list(frame.breaks)
    if is_alive:
        at_end = frame.names
        if not otherwise:
            states.append(at_end)
        else:
            frame.names = dict(at_end)
            with machine.heap.branch():
                if machine.execute(otherwise):
                    states.append(frame.names)
    if states:
        frame.names = merge_names(states)
    return bool(states)
