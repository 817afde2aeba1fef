"""Functions and objects that are passed to a library, which may call them."""

from __future__ import annotations

import ast

from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.values import (
    UNKNOWN,
    Bound,
    Function,
    Instance,
    Mapping,
    Partial,
    Value,
)

MAX_NESTING = 3
MAX_ESCAPED = 200  # items of one container
FIRST_HOOKS = ("prepare_data", "setup", "configure_model", "on_fit_start", "on_train_start", "state_dict")
"""Hooks that a library calls before the others."""
HOOKS = frozenset(
    {
        *FIRST_HOOKS,
        *("teardown", "forward", "training_step", "validation_step", "test_step", "predict_step", "compute_loss"),
        *("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader", "configure_optimizers"),
        *(
            "load_state_dict",
            "save_checkpoint",
            "load_checkpoint",
            "remove_checkpoint",
            "log_metrics",
            "log_hyperparams",
        ),
        *("configure_callbacks", "transfer_batch_to_device", "optimizer_step", "lr_scheduler_step", "finalize", "emit"),
        *("save", "run", "compute", "update", "step", "backward", "call", "build", "get_config", "evaluate", "_save"),
        *("__call__", "__iter__", "__next__", "__getitem__", "__len__", "__enter__", "__exit__", "write_on_batch_end"),
        *("write_on_epoch_end", "process", "handle", "load", "predict", "fit", "transform", "fit_transform"),
    }
)


def escape(machine: Machine, value: Value, node: ast.AST, nesting: int = 0) -> None:
    """Let a library call the functions in a value now, and the methods of its objects later."""
    for atom in value:
        if isinstance(atom, Function | Bound | Partial):
            key = (atom, machine.is_certain)
            if key not in machine.escaped:
                machine.escaped.add(key)
                machine.call((atom,), Arguments(rest=UNKNOWN), node)
        elif isinstance(atom, Instance) and atom.owner is not None:
            if atom not in machine.escaped:
                machine.escaped.add(atom)
                machine.pending.append((atom, machine.frame))
        elif nesting < MAX_NESTING and (items := items_of(atom)) is not None:
            values = [*items, *atom.entries.values(), atom.rest] if isinstance(atom, Mapping) else items
            for item in values[:MAX_ESCAPED]:
                machine.budget.spend()
                escape(machine, item, node, nesting + 1)


def run_pending(machine: Machine) -> None:
    """Call what a library may call later, until nothing new comes."""
    while machine.pending:
        atom, frame = machine.pending.pop(0)
        node = ast.Pass(lineno=frame.line)
        with machine.running(frame):
            if isinstance(atom, Function | Bound | Partial):
                machine.call((atom,), Arguments(rest=UNKNOWN), node)
            elif isinstance(atom, Instance):
                _run_hooks(machine, atom, node)


def _run_hooks(machine: Machine, instance: Instance, node: ast.AST) -> None:
    """Call the methods of an object that a library knows; it may also call the others, if the class derives from it."""
    if instance.owner is None:
        return
    is_external = bool(instance.owner.all_external_bases())
    names = list(dict.fromkeys(name for base in instance.owner.lineage() for name in base.attributes))
    first = [name for name in FIRST_HOOKS if name in names]
    for name in [*first, *(name for name in names if name not in first)]:
        is_hook = name in HOOKS or name.startswith("on_")
        is_private = name.startswith("_") and name not in HOOKS
        if is_private or not (is_hook or is_external) or not (is_external or name.startswith("__")):
            continue
        found = instance.owner.find(name) or ()
        if not all(isinstance(atom, Function) and not atom.roles & {"property", "staticmethod"} for atom in found):
            continue
        before = machine.is_certain
        machine.is_certain = before and is_hook
        machine.call(machine.get_attribute((instance,), name, node), Arguments(rest=UNKNOWN), node)
        machine.is_certain = before
