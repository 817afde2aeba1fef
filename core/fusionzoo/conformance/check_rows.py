"""Checks that a row has one score, whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from fusionzoo.conformance.forward import TOLERANCE, build_trained_briefly, compute_logits, largest_difference
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import Row, encode_rows, make_batch, make_rows, replace_tokens
from fusionzoo.nn.schema import Batch

ROWS = 12
EXTREME = 1e3  # standard deviations


def check_batch_size_invariance(subject: Subject) -> None:
    """A row scores the same alone and in a batch."""
    model, rows = build_trained_briefly(subject), make_rows(subject.spec, ROWS, seed=2)
    together = compute_logits(model, make_batch(subject.spec, rows))
    alone = torch.cat([compute_logits(model, make_batch(subject.spec, [row])) for row in rows])
    if seen := largest_difference(alone, together):
        raise ConformanceError(
            f"a row's logits alone and in a batch of {ROWS} differ by {seen:.2g} (allowed {TOLERANCE:.0e}): "
            "is there a mean over padding, a batch statistic, or a loss of chunks?"
        )


def check_row_order_invariance(subject: Subject) -> None:
    """A row scores the same wherever it stands in a batch."""
    model, split = build_trained_briefly(subject), encode_rows(subject.spec, make_rows(subject.spec, ROWS, seed=2))
    straight = np.arange(ROWS)
    usual = compute_logits(model, Batch.from_arrays(split.batch(straight)))
    for order in (straight[::-1].copy(), np.random.default_rng(0).permutation(ROWS)):
        found = compute_logits(model, Batch.from_arrays(split.batch(order.copy())))
        if seen := largest_difference(found, usual[torch.from_numpy(order)]):
            raise ConformanceError(
                f"a row's logits change by {seen:.2g} (allowed {TOLERANCE:.0e}) with the order of the rows: "
                "does something read batch.row, or run over rows as if they were a sequence?"
            )


def check_padding_invariance(subject: Subject) -> None:
    """More padding, or other token ids under it, change no score."""
    batch = make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=2))
    if subject.spec.text is None:
        return
    model = build_trained_briefly(subject)
    wider = replace(
        batch,
        tokens=F.pad(batch.tokens, (0, 3), value=subject.spec.text.pad_id),
        token_mask=F.pad(batch.token_mask, (0, 3)),
    )
    drawn = torch.randint(
        0, subject.spec.text.vocab_size, wider.tokens.shape, generator=torch.Generator().manual_seed(0)
    )
    other = replace(wider, tokens=torch.where(wider.token_mask, wider.tokens, drawn))
    usual = compute_logits(model, batch)
    for name, changed in (("three more columns of padding", wider), ("other token ids under padding", other)):
        if seen := largest_difference(compute_logits(model, changed), usual):
            raise ConformanceError(
                f"{name} changed the logits by {seen:.2g} (allowed {TOLERANCE:.0e}): is a pooling step or an attention "
                "unmasked, or is padding told by its token id instead of batch.token_mask?"
            )


def check_rows_are_independent(subject: Subject) -> None:
    """A row's score does not change with the contents of other rows: their text, its chunks' order, their table."""
    model, rows = build_trained_briefly(subject), make_rows(subject.spec, ROWS, seed=2)
    usual = compute_logits(model, make_batch(subject.spec, rows))
    others = make_rows(subject.spec, ROWS, seed=3)
    changes: dict[str, list[Row]] = {
        "other contents of other rows": others,
        "another order of the chunks of other rows": [replace(row, chunks=row.chunks[::-1]) for row in rows],
        "other words in other rows": [replace(row, chunks=tuple(map(replace_tokens, row.chunks))) for row in rows],
        "extreme numbers in other rows": [replace(row, numbers=row.numbers * np.float32(EXTREME)) for row in others],
    }
    for name, changed in changes.items():
        for kept in (0, ROWS - 1):
            beside = [row if i == kept else other for i, (row, other) in enumerate(zip(rows, changed, strict=True))]
            found = compute_logits(model, make_batch(subject.spec, beside))
            if seen := largest_difference(found[kept], usual[kept]):
                raise ConformanceError(
                    f"{name} changed a row's logits by {seen:.2g} (allowed {TOLERANCE:.0e}): is there a softmax, a "
                    "norm or a maximum over the rows of a batch, or do chunks reach the wrong row?"
                )


def check_scoring_is_deterministic(subject: Subject) -> None:
    """In evaluation mode the same batch has exactly the same scores each time: dropout and noise are off."""
    model, batch = build_trained_briefly(subject), make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=2))
    first, second = compute_logits(model, batch), compute_logits(model, batch)
    if not torch.equal(first, second):
        raise ConformanceError(
            f"scored twice, the same rows differ by {float((first - second).abs().max()):.2g}: is there noise, or an "
            "F.dropout without training=self.training?"
        )
