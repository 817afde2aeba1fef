"""The check that a model trains in a job of each kind of each task that it supports."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.conformance.forward import compute_logits, fit_until, largest_difference
from fusionzoo.conformance.other_causes import LABELS_READ, check_repeated_scores
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import EXAMPLE_ROWS, Subject
from fusionzoo.conformance.synthetic_rows import encode_rows, make_rows
from fusionzoo.errors import SettingError, add_note
from fusionzoo.nn.schema import Batch, InputSpec
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objectives import make_objective

MAX_STEPS = 100
TARGET_SHARE = 0.7  # of the loss of the best constant prediction
LEARNING_RATES = (1e-2, 1e-3)  # one of them must work


def check_task(subject: Subject) -> None:
    """A job of each kind of each supported task works: `resolve` accepts it, and training lowers the loss of the task.

    The kinds are two and three classes, labels, one number, two numbers, and quantiles. Outputs do not depend on
    labels, in training either.
    """
    example = subject.example
    if example is None:
        raise ValueError("the subject has no task to check")
    spec = replace(subject.spec, num_outputs=example.task.target.num_outputs)
    job = _resolve_job(subject, spec)
    split = replace(encode_rows(spec, make_rows(spec, EXAMPLE_ROWS, seed=6)), labels=example.labels)
    batch = Batch.from_arrays(split.batch(np.arange(EXAMPLE_ROWS)))
    _check_outputs(subject, spec, batch)
    objective = make_objective(example.task, job, split)
    labels = torch.from_numpy(example.labels)

    def loss_of(outputs: Tensor) -> Tensor:
        return objective.row_losses(outputs, labels).sum() / objective.row_weights(labels).sum()

    constant_loss, best = objective.constant_loss(example.labels), float("inf")
    target = TARGET_SHARE * constant_loss
    for rate in LEARNING_RATES:
        model = subject.build(spec)
        best = min(best, fit_until(model, batch, loss_of, target, rate, MAX_STEPS))
        _check_labels_in_training(model, batch)
        if best < target:
            return
    raise ConformanceError(
        f"in a {example.title}, the loss of {EXAMPLE_ROWS} rows is {best:.3g} after {MAX_STEPS} steps of Adam; that of "
        f"a constant prediction is {constant_loss:.3g}. Fix: end forward with a linear layer, without a softmax or "
        "another bound, or declare the supported tasks as `tasks` of the settings class"
    )


def _resolve_job(subject: Subject, spec: InputSpec) -> JobSettings:
    """Return the settings of the job; an exception in `resolve` gets a note about the task."""
    try:
        return subject.architecture(spec).job
    except Exception as error:
        fix = "declare the supported tasks as `tasks` of the settings class, or correct `resolve`"
        if isinstance(error, SettingError):
            raise ConformanceError(f"`resolve` rejects the job: {error.message} Fix: {fix}") from error
        add_note(error, f"The job is a {subject.job_title}. Fix: {fix}.")
        raise


def _check_outputs(subject: Subject, spec: InputSpec, batch: Batch) -> None:
    """Check the outputs of the untrained model, and that they are the same without labels."""
    model = subject.build(spec)
    outputs = compute_logits(model, batch)
    expected = (batch.rows, spec.num_outputs)
    if outputs.shape != expected or not bool(outputs.isfinite().all()):
        raise ConformanceError(
            f"the outputs have shape {list(outputs.shape)}, or are not finite; [rows, outputs] is {list(expected)}. "
            "Fix: size the last layer by spec.num_outputs"
        )
    if largest_difference(compute_logits(model, replace(batch, labels=None)), outputs):
        check_repeated_scores(model, batch)
        raise ConformanceError(LABELS_READ)


def _check_labels_in_training(model: nn.Module, batch: Batch) -> None:
    """Check that other labels do not change the outputs in training; penalties and metrics may depend on them."""
    if batch.labels is None:
        raise ValueError("the batch has no labels")
    shuffled = replace(batch, labels=batch.labels.roll(1, dims=0))
    outputs, repeated, changed = (_compute_in_training(model, one) for one in (batch, batch, shuffled))
    is_deterministic = not largest_difference(repeated, outputs)  # given the state of torch's generator
    if is_deterministic and largest_difference(changed, outputs):
        raise ConformanceError(f"in training, {LABELS_READ}, except for penalties and metrics")


def _compute_in_training(model: nn.Module, batch: Batch) -> Tensor:
    torch.manual_seed(0)
    return compute_logits(model.train(), batch)
