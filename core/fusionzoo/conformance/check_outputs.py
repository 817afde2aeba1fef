"""Checks of what a model returns."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from fusionzoo.conformance.forward import build_trained_briefly, compute_logits, run_model
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows

ROWS = 12


def check_logits(subject: Subject) -> None:
    """Logits are finite floats [rows, classes] for 2 and for 5 classes, with word vectors and without.

    They are not probabilities: core applies softmax.
    """
    for classes, inputs in ((2, subject.spec), (5, subject.other_spec)):
        spec = replace(inputs, num_classes=classes)
        found = compute_logits(build_trained_briefly(subject, spec), make_batch(spec, make_rows(spec, ROWS, seed=1)))
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


def check_penalties_and_metrics(subject: Subject) -> None:
    """What stands beside the logits in a `ModelOutput` are named, finite scalars, while training and while scoring."""
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    model = build_trained_briefly(subject)
    for mode in (True, False):
        _, output = run_model(model.train(mode), batch)
        for kind in ("penalties", "metrics"):
            for name, value in getattr(output, kind).items():
                if not isinstance(value, Tensor) or value.shape != ():
                    shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
                    raise ConformanceError(f"{kind}['{name}'] is {shape}, not a scalar tensor: take its mean or sum")
                if not bool(value.isfinite()):
                    raise ConformanceError(f"{kind}['{name}'] is {value.item()}: is something divided by zero?")


def check_batch_is_not_modified(subject: Subject) -> None:
    """Forward does not write into the batch."""
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    before = batch.map(Tensor.clone)
    compute_logits(build_trained_briefly(subject), batch)
    for name, value in vars(before).items():
        if value is not None and not torch.equal(value, getattr(batch, name)):
            raise ConformanceError(f"forward changed batch.{name}: use an operation that makes a new tensor")
