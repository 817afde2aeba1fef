"""Checks of rows, batches and jobs that are rare and allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from fusionzoo.conformance.forward import build_trained_briefly, compute_logits, compute_loss, trainable_parameters
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import Row, encode_rows, make_batch, make_rows
from fusionzoo.errors import SettingError
from fusionzoo.nn.schema import Batch, InputSpec

ROWS = 12
EMPTY_WIDTH = 4


def check_empty_text(subject: Subject) -> None:
    """A row whose text is empty, one chunk of one token, has a finite score and finite gradients."""
    if subject.spec.text is None:
        return
    rows = [replace(row, chunks=(row.chunks[0][:1],)) for row in make_rows(subject.spec, ROWS, seed=5)]
    _check_trains(
        subject, subject.spec, rows, "empty texts (one chunk of one token): a standard deviation of one value?"
    )


def check_empty_batch(subject: Subject) -> None:
    """A batch without rows has logits [0, classes]."""
    model, classes = build_trained_briefly(subject), subject.spec.num_classes
    split = encode_rows(subject.spec, make_rows(subject.spec, ROWS, seed=5))
    empty = Batch.from_arrays(split.batch(np.zeros(0, np.int64)))
    wider = replace(
        empty, tokens=F.pad(empty.tokens, (0, EMPTY_WIDTH)), token_mask=F.pad(empty.token_mask, (0, EMPTY_WIDTH))
    )
    for batch in (empty, wider):
        found = compute_logits(model, batch)
        if found.shape != (0, classes):
            raise ConformanceError(
                f"a batch without rows has logits of shape {list(found.shape)}, not {[0, classes]}: "
                "is the number of rows taken from something else than batch.rows?"
            )


def check_text_only_and_table_only(subject: Subject) -> None:
    """A job with text alone, or with a table alone, works, unless the settings' `needs` or `resolve` refuse it."""
    kind, spec = type(subject.settings), subject.spec
    if beyond := sorted(kind.needs - kind.reads):
        raise ConformanceError(f"{kind.__name__}.needs has {beyond}, which its `reads` has not")
    if "table" not in kind.needs and spec.text is not None:
        _check_job(subject, replace(spec, categories=(), numbers=()), 'text alone: should `needs` have "table"?')
    if "text" not in kind.needs and (spec.categories or spec.numbers):
        _check_job(subject, replace(spec, text=None), 'a table alone: should `needs` have "text"?')


def check_categories_only_and_numbers_only(subject: Subject) -> None:
    """A table of categories alone, or of numbers alone, works, unless the settings' `resolve` refuses it."""
    spec = subject.spec
    if spec.categories:
        _check_job(subject, replace(spec, numbers=()), "a table of categories alone: something made of no numbers?")
    if spec.numbers:
        _check_job(subject, replace(spec, categories=()), "a table of numbers alone: something made of no categories?")


def _check_job(subject: Subject, spec: InputSpec, kind: str) -> None:
    try:
        subject.architecture(spec)
    except SettingError:
        return  # refused, and before any data is read
    try:
        _check_trains(subject, spec, make_rows(spec, ROWS, seed=5), kind)
    except ConformanceError:
        raise
    except Exception as fault:
        raise ConformanceError(f"{type(fault).__name__} in a job with {kind} ({fault})") from fault


def _check_trains(subject: Subject, spec: InputSpec, rows: Sequence[Row], kind: str) -> None:
    model, batch = build_trained_briefly(subject, spec), make_batch(spec, rows)
    found = compute_logits(model, batch)
    if found.shape != (len(rows), spec.num_classes) or not bool(found.isfinite().all()):
        raise ConformanceError(f"logits have shape {list(found.shape)} or are not finite with {kind}")
    parameters = trainable_parameters(model.train())
    if parameters:
        compute_loss(model, batch).backward()  # type: ignore[no-untyped-call]
    if not all(bool(torch.isfinite(p.grad).all()) for p in parameters if p.grad is not None):
        raise ConformanceError(f"gradients are not finite with {kind}")
