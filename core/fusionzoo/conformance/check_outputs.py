"""Checks of what a model returns."""

from __future__ import annotations

import re
from dataclasses import replace

import torch
from torch import Tensor

from fusionzoo.conformance.forward import (
    MIN_CHANGE,
    build_trained_briefly,
    compute_logits,
    measure_change,
    run_model,
)
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_batch, make_rows
from fusionzoo.nn.schema import ModelOutput

ROWS = 12
NAME = re.compile(r"\w[\w./-]*", re.ASCII)


def check_logits(subject: Subject) -> None:
    """Logits are finite floats [rows, outputs], for 1, 2 and 5 outputs, with and without word vectors.

    They are not all equal in each row, and are not probabilities: core applies softmax. One output is that of a
    regression, if the model supports it.
    """
    cases = [(2, subject.spec), (5, subject.alternative_spec)]
    if "regression" in subject.plugin.settings_class.tasks:
        cases.append((1, subject.spec))
    for outputs, inputs in cases:
        spec = replace(inputs, num_outputs=outputs)
        logits = compute_logits(build_trained_briefly(subject, spec), make_batch(spec, make_rows(spec, ROWS, seed=1)))
        _check_shape(logits, ROWS, outputs)
        _check_differs_between_outputs(logits)
        if outputs > 1 and bool((logits >= 0).all()) and torch.allclose(logits.sum(dim=1), torch.ones(ROWS), atol=1e-4):
            raise ConformanceError(
                "the logits of each row are positive and sum to one, as probabilities do, but core applies softmax "
                "itself. Fix: remove the softmax at the end of forward"
            )


def _check_shape(logits: Tensor, rows: int, classes: int) -> None:
    if logits.shape != (rows, classes):
        raise ConformanceError(
            f"logits have shape {list(logits.shape)}, but [rows, classes] is {[rows, classes]}. "
            "Fix: size the last layer by spec.num_outputs, and pool chunks to rows"
        )
    if not bool(logits.isfinite().all()):
        raise ConformanceError("logits are not finite. Fix: look for a division by zero or the logarithm of zero")


def _check_differs_between_outputs(logits: Tensor) -> None:
    """Check that the logits of a row are not the same number in each column, as those of a broadcast column are."""
    if logits.shape[1] > 1 and measure_change(logits, torch.zeros_like(logits), has_classes=True) <= MIN_CHANGE:
        raise ConformanceError(
            f"the {logits.shape[1]} logits of each row are all equal, so every class has the same probability, "
            "whatever the model learns. Fix: give the last layer spec.num_outputs outputs, not one that is broadcast"
        )


def check_penalties_and_metrics(subject: Subject) -> None:
    """The penalties and metrics of a `ModelOutput` are finite scalar tensors, in training and in evaluation mode.

    Their names consist of letters, digits, `_`, `.`, `-` and `/`; no metric is called `loss`, or `penalty_<name>` if
    there is a penalty with this name.
    """
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    model = build_trained_briefly(subject)
    for is_training in (True, False):
        _, output = run_model(model.train(is_training), batch)
        _check_names(output)
        for kind in ("penalties", "metrics"):
            for name, value in getattr(output, kind).items():
                if not isinstance(value, Tensor) or value.shape != ():
                    actual = f"of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
                    raise ConformanceError(
                        f"{kind}['{name}'] is {actual}, not a scalar tensor. Fix: return its mean or its sum"
                    )
                if not bool(value.isfinite()):
                    raise ConformanceError(f"{kind}['{name}'] is {value.item()}. Fix: look for a division by zero")


def _check_names(output: ModelOutput) -> None:
    for kind, names in (("penalties", output.penalties), ("metrics", output.metrics)):
        for name in names:
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise ConformanceError(
                    f"the name {name!r} in {kind} cannot be logged. Fix: use letters, digits and _, such as gate_text"
                )
    taken = {"loss", *(f"penalty_{name}" for name in output.penalties)}
    for name in sorted(output.metrics.keys() & taken):
        raise ConformanceError(
            f"core logs train/{name} itself, so metrics['{name}'] needs another name. Fix: rename it"
        )


def check_batch_is_not_modified(subject: Subject) -> None:
    """Forward does not modify the batch in place."""
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=1))
    before = batch.map(Tensor.clone)
    compute_logits(subject.build(), batch)  # untrained, as a change in place can make training fail
    for name, value in vars(before).items():
        if value is not None and not torch.equal(value, getattr(batch, name)):
            raise ConformanceError(
                f"forward modified batch.{name} in place, which corrupts the data that core reads afterwards. "
                "Fix: use an operation that returns a new tensor"
            )
