"""Checks of valid but unusual rows, batches and jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from fusionzoo.conformance.forward import (
    build_trained_briefly,
    compute_logits,
    compute_loss,
    run_backward,
    trainable_parameters,
)
from fusionzoo.conformance.results import ConformanceError, describe_cause
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import Row, encode_rows, make_batch, make_rows
from fusionzoo.errors import SettingError, add_note
from fusionzoo.nn.schema import Batch, InputSpec

ROWS = 12
EMPTY_LENGTH = 4


def check_empty_text(subject: Subject) -> None:
    """Rows with an empty text (one chunk of one token) give finite logits and gradients."""
    if subject.spec.text is None:
        return
    rows = [replace(row, chunks=(row.chunks[0][:1],)) for row in make_rows(subject.spec, ROWS, seed=5)]
    _check_trains(subject, subject.spec, rows, "rows with an empty text (one chunk of one token)")


def check_empty_batch(subject: Subject) -> None:
    """A batch without rows gives logits [0, classes]."""
    model, classes = build_trained_briefly(subject), subject.spec.num_outputs
    split = encode_rows(subject.spec, make_rows(subject.spec, ROWS, seed=5))
    empty = Batch.from_arrays(split.batch(np.zeros(0, np.int64)))
    wider = replace(
        empty, tokens=F.pad(empty.tokens, (0, EMPTY_LENGTH)), token_mask=F.pad(empty.token_mask, (0, EMPTY_LENGTH))
    )
    for batch in (empty, wider):
        try:
            logits = compute_logits(model, batch)
        except Exception as error:
            add_note(
                error,
                "a process may get a batch without rows. Fix: skip layers that reject it, such as torch's attention "
                "(if batch.rows: ...)",
            )
            raise
        if logits.shape != (0, classes):
            raise ConformanceError(
                f"a batch without rows gives logits of shape {list(logits.shape)}, not {[0, classes]}. "
                "Fix: take the number of rows from batch.rows"
            )


def check_text_only_and_table_only(subject: Subject) -> None:
    """A job with only text, or only a table, works, unless the settings reject it by `needs` or `resolve`."""
    settings_class, spec = type(subject.settings), subject.spec
    if extra := sorted(settings_class.needs - settings_class.reads):
        raise ConformanceError(
            f"{settings_class.__name__}.needs contains {extra}, but its `reads` does not. Fix: add it to `reads`"
        )
    if "table" not in settings_class.needs and spec.text is not None:
        _check_job(subject, replace(spec, categories=(), numbers=()), "a job with only text", 'add "table" to `needs`')
    if "text" not in settings_class.needs and (spec.categories or spec.numbers):
        _check_job(subject, replace(spec, text=None), "a job with only a table", 'add "text" to `needs`')


def check_categories_only_and_numbers_only(subject: Subject) -> None:
    """A table of only categories, or only numbers, works, unless the settings reject it by `resolve`."""
    spec = subject.spec
    if spec.categories:
        _check_job(subject, replace(spec, numbers=()), "a table of only categories", "skip layers of zero numbers")
    if spec.numbers:
        _check_job(subject, replace(spec, categories=()), "a table of only numbers", "skip layers of zero categories")


def _check_job(subject: Subject, spec: InputSpec, case: str, remedy: str) -> None:
    """Check that a job with fewer inputs trains. Other checks report a model that fails with all of its inputs, too."""
    try:
        subject.architecture(spec)
    except SettingError:
        return  # the settings reject the job before any data is read
    cause = None if spec == subject.spec else _find_error(subject, spec, case)
    if cause is not None and _find_error(subject, subject.spec, "a job with all inputs") is None:
        raise ConformanceError(
            f"the model works with all of its inputs, but fails in {case}. Fix: {remedy}, or raise a SettingError in "
            f"`resolve`; if the model is made for such jobs, correct it\n  {describe_cause(cause, subject.module)}"
        ) from cause


def _find_error(subject: Subject, spec: InputSpec, case: str) -> Exception | None:
    """Return the exception with which a model of these inputs does not train; None if it trains."""
    try:
        _check_trains(subject, spec, make_rows(spec, ROWS, seed=5), case)
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return error
    return None


def _check_trains(subject: Subject, spec: InputSpec, rows: Sequence[Row], case: str) -> None:
    model, batch = build_trained_briefly(subject, spec), make_batch(spec, rows)
    logits = compute_logits(model, batch)
    if logits.shape != (len(rows), spec.num_outputs) or not bool(logits.isfinite().all()):
        raise ConformanceError(
            f"the logits for {case} have shape {list(logits.shape)}, or are not finite. Fix: look for a softmax or a "
            "mean over positions that are all masked, a division by zero, and a fixed number of rows"
        )
    parameters = trainable_parameters(model.train())
    if parameters:
        run_backward(compute_loss(model, batch), model)
    if not all(bool(torch.isfinite(p.grad).all()) for p in parameters if p.grad is not None):
        raise ConformanceError(
            f"the gradients for {case} are not finite. Fix: look for a deviation of one value, a square root or a norm "
            "of zero, and a softmax over positions that are all masked"
        )
