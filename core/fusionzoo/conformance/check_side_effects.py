"""The check that forward changes nothing besides what it returns: no seed, no mode, no weight."""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.conformance.forward import build_trained_briefly, compute_logits
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows

ROWS = 12
SEEDS = (1234, 4321)
SEEDING: dict[str, tuple[Any, str]] = {  # by the name that users know, the module and the function
    "torch.manual_seed": (torch, "manual_seed"),
    "random.seed": (random, "seed"),
    "numpy.random.seed": (np.random, "seed"),
}


def check_forward_has_no_side_effects(subject: Subject) -> None:
    """Forward sets no seed, and does not switch a module between training and evaluation mode.

    In evaluation mode, it changes no parameter or buffer.
    """
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    for is_training in (True, False):
        mode = "training" if is_training else "evaluation"
        model = build_trained_briefly(subject).train(is_training)
        modes = {name: module.training for name, module in model.named_modules()}
        tensors = {name: tensor.clone() for name, tensor in _list_tensors(model)}
        _check_seeds(partial(compute_logits, model, batch), mode)
        if switched := [name for name, module in model.named_modules() if modes.get(name) != module.training]:
            names = ", ".join(name or "the model" for name in switched[:5])
            raise ConformanceError(
                f"in {mode} mode, forward switches the mode of {names}, which the next batches then have. Fix: "
                "remove .train() and .eval() from forward; to keep a layer in evaluation mode, override train(mode)"
            )
        changed = [name for name, tensor in _list_tensors(model) if not _same(tensor, tensors.get(name))]
        if changed and not is_training:
            raise ConformanceError(
                f"in evaluation mode, forward changes {', '.join(changed[:5])}, so scores depend on earlier batches. "
                "Fix: compute a new tensor instead of writing to .data or with copy_, or write only if self.training"
            )


def _list_tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _same(tensor: Tensor, other: Tensor | None) -> bool:
    """Return whether tensors are equal; NaN equals NaN."""
    if other is None or tensor.shape != other.shape:
        return False
    return bool(((tensor == other) | ((tensor != tensor) & (other != other))).all())


def _check_seeds(run: Callable[[], object], mode: str) -> None:
    """Check that a run with other seeds leaves other states: a run that sets a seed leaves the same."""
    states_of_python = random.getstate(), np.random.get_state()
    try:
        with _watch_seeding() as lines:
            first, second = (_run_with_seed(run, seed) for seed in SEEDS)
    finally:
        random.setstate(states_of_python[0])
        np.random.set_state(states_of_python[1])
    for name, state in first.items():
        if state == second[name]:
            place = f"\n  at {lines[name]}" if name in lines else ""
            raise ConformanceError(
                f"in {mode} mode, forward sets a seed, as {name} does, so that each batch draws the same numbers, also "
                "in dropout and in core. Fix: remove it. Core sets the seed of a job; for fixed random numbers, "
                f"register a buffer in __init__{place}"
            )


def _run_with_seed(run: Callable[[], object], seed: int) -> dict[str, str]:
    """Return the states of the random generators after a run that begins with these seeds."""
    for module, function in SEEDING.values():
        getattr(module, function)(seed)
    _draw()  # a state other than that of any seed
    run()
    states = torch.get_rng_state().tolist(), random.getstate(), np.random.get_state(legacy=False)
    return {name: str(state) for name, state in zip(SEEDING, states, strict=True)}


def _draw() -> None:
    torch.rand(1)
    random.random()
    np.random.random()


@contextmanager
def _watch_seeding() -> Iterator[dict[str, str]]:
    """In the context, collect the last line outside of this file that calls each function that sets a seed."""
    lines: dict[str, str] = {}
    with ExitStack() as stack:
        for name, (module, function) in SEEDING.items():
            spy = _make_spy(name, getattr(module, function), lines)
            stack.enter_context(mock.patch.object(module, function, spy))
        yield lines


def _make_spy(name: str, function: Callable[..., Any], lines: dict[str, str]) -> Callable[..., Any]:
    def spy(*args: Any, **kwargs: Any) -> Any:
        caller = traceback.extract_stack(limit=2)[0]
        if caller.filename != __file__:
            lines[name] = f"{caller.filename}, line {caller.lineno}, in {caller.name}: {caller.line}"
        return function(*args, **kwargs)

    return spy
