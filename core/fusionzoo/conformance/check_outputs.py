"""Checks of what a model returns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fusionzoo.conformance.forward import logits, output_of, warmed
from fusionzoo.conformance.inputs import batch_of, make_rows
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject

ROWS = 12


def check_logits(subject: Subject) -> None:
    """Logits are finite floats [rows, classes] for 2 and for 5 classes, with word vectors and without.

    They are not probabilities: core applies softmax.
    """
    for classes, inputs in ((2, subject.spec), (5, subject.other_spec)):
        spec = replace(inputs, num_classes=classes)
        found = logits(warmed(subject, spec), batch_of(spec, make_rows(spec, ROWS, seed=1)))
        _check_shape(found, ROWS, classes)
        if bool((found >= 0).all()) and torch.allclose(found.sum(dim=1), torch.ones(ROWS), atol=1e-4):
            raise ConformanceError(
                "the logits of each row are positive and sum to one, as probabilities do: "
                "is there a softmax at the end of forward? Core applies it"
            )


def _check_shape(found: Tensor, rows: int, classes: int) -> None:
    if found.shape != (rows, classes):
        raise ConformanceError(
            f"logits have shape {list(found.shape)}, where {[rows, classes]} is [rows, classes]: "
            "is the last layer sized by spec.num_classes, and are chunks pooled into rows?"
        )
    if not bool(found.isfinite().all()):
        raise ConformanceError("logits are not finite: is something divided by zero, or its logarithm taken?")


def check_penalties_and_figures(subject: Subject) -> None:
    """What stands beside the logits in a `ModelOutput` are named, finite scalars, while training and while scoring."""
    batch = batch_of(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    model = warmed(subject)
    for mode in (True, False):
        _, output = output_of(model.train(mode), batch)
        for kind in ("penalties", "figures"):
            for name, value in getattr(output, kind).items():
                if not isinstance(value, Tensor) or value.shape != ():
                    shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                    raise ConformanceError(f"{kind}['{name}'] is {shape}, not a scalar tensor: take its mean or sum")
                if not bool(value.isfinite()):
                    raise ConformanceError(f"{kind}['{name}'] is {value.item()}: is something divided by zero?")


def check_batch_is_left_alone(subject: Subject) -> None:
    """Forward does not write into the batch."""
    batch = batch_of(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    before = batch.map(Tensor.clone)
    logits(warmed(subject), batch)
    for name, value in vars(before).items():
        if value is not None and not torch.equal(value, getattr(batch, name)):
            raise ConformanceError(f"forward changed batch.{name}: use an operation that makes a new tensor")
