"""Measure whether a change of a parameter changes what a model predicts: a nonzero gradient can be rounding noise."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fusionzoo.conformance.forward import MIN_CHANGE, measure_change, run_model
from fusionzoo.nn.schema import Batch

MIN_SCALE = 0.1  # of the change of a parameter, whose initial values can be zero


def find_effects(model: nn.Module, batch: Batch, names: Collection[str], has_classes: bool) -> dict[str, bool]:
    """Return whether each of these parameters has an effect; without those that change no output of this batch.

    A parameter has an effect if it changes the probabilities, or only a penalty. It has none if it adds the same number
    to the logits of all classes, which softmax ignores, whatever it does to penalties.

    Args:
        model: in training mode, in which it draws the same random numbers for each parameter.
        has_classes: whether the model supports classification; otherwise each change of an output is an effect.
    """
    effects: dict[str, bool] = {}
    logits, penalties = _compute_outputs(model, batch)
    for name, parameter in model.named_parameters():
        if name not in names:
            continue
        with _changed(parameter):
            new_logits, new_penalties = _compute_outputs(model, batch)
        if measure_change(new_logits, logits, has_classes) > MIN_CHANGE:
            effects[name] = True
        elif measure_change(new_logits, logits, has_classes=False) > MIN_CHANGE:
            effects[name] = False
        elif not torch.allclose(new_penalties, penalties, rtol=MIN_CHANGE, atol=0):
            effects[name] = True
    return effects


def drop_biases_that_cancel(names: Collection[str], with_effect: Collection[str]) -> set[str]:
    """Return the names without the biases of modules that have another parameter with an effect.

    A softmax cancels the bias of a layer that scores tokens or experts, such as the keys of attention.
    """
    modules = {name.rpartition(".")[0] for name in with_effect}
    return {name for name in names if "bias" not in name.rpartition(".")[2] or name.rpartition(".")[0] not in modules}


def _compute_outputs(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the logits [rows, outputs] and the penalties [penalties], with the same dropout each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        logits, output = run_model(model, batch)
    return logits.float(), torch.stack([torch.zeros(()), *(p.float().mean() for p in output.penalties.values())])


@contextmanager
def _changed(parameter: nn.Parameter) -> Iterator[None]:
    """In the context, add random numbers to a parameter that are about as large as its values."""
    before = parameter.detach().clone()
    noise = torch.randn(before.shape, generator=torch.Generator().manual_seed(0)).to(before.dtype)
    try:
        parameter.data.add_(noise * before.abs().mean().clamp_min(MIN_SCALE))
        yield
    finally:
        parameter.data.copy_(before)
