"""Run a script abstractly: its top level, then what libraries may call."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.atoms import Frame, ModuleSource
from fusionzoo.contracts.static.attributes import get_attribute
from fusionzoo.contracts.static.budget import Budget, OutOfStepsError
from fusionzoo.contracts.static.calls import call_atom
from fusionzoo.contracts.static.escapes import run_pending
from fusionzoo.contracts.static.expressions import EXPRESSIONS
from fusionzoo.contracts.static.iteration import iterate
from fusionzoo.contracts.static.machine import Arguments, Machine, Recorder, Tables
from fusionzoo.contracts.static.project_modules import ModuleFinder
from fusionzoo.contracts.static.statements import STATEMENTS
from fusionzoo.contracts.static.values import UNKNOWN, Value, constant, text

RECURSION_LIMIT = 12_000  # of the interpreter itself, for nested calls of the program


def make_machine(finder: ModuleFinder, recorder: Recorder, budget: Budget) -> Machine:
    """Return a machine that has run nothing yet."""
    tables = Tables(EXPRESSIONS, STATEMENTS, get_attribute, call_atom, iterate, run_module)
    return Machine(tables, finder, recorder, budget)


def run_module(machine: Machine, module: ModuleSource, name: str | None = None) -> Frame:
    """Run a module once and return its frame; a module that is being imported already is not run again."""
    if module.frame is not None:
        return module.frame
    frame = module.frame = Frame(module, serial=machine.heap.tick(), token=machine.heap.token)
    frame.names = {
        "__name__": constant(name or module.name),
        "__file__": text(f"{texts.CODE_PART}/{module.path.name}"),
        "__package__": constant(module.package),
        "__doc__": UNKNOWN,
    }
    before, machine.frames = machine.frames, [*machine.frames[:1], frame]
    try:
        machine.execute(module.tree.body)
    finally:
        machine.frames = before
    return frame


def run_script(machine: Machine, script: ModuleSource, entry_points: dict[str, dict[str, Value]]) -> None:
    """Run a script and everything that it leads to, within the budget.

    Args:
        entry_points: functions of the script that its container calls, with the arguments that are known.
    """
    with _raised_recursion_limit():
        try:
            frame = run_module(machine, script, "__main__")
            for name, keywords in entry_points.items():
                if name in frame.names:
                    with machine.running(frame):
                        machine.call(frame.names[name], Arguments([], keywords, UNKNOWN), script.tree)
            run_pending(machine)
        except OutOfStepsError:
            machine.budget.note(f"the analysis stopped after {machine.budget.max_steps:,} steps")
        except (RecursionError, MemoryError):
            machine.budget.note("the analysis stopped: the program is nested too deeply or too large")


@contextmanager
def _raised_recursion_limit() -> Iterator[None]:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, RECURSION_LIMIT))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
