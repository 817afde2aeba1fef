"""Checks that the score of a row does not depend on its batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch.nn import functional as F

from fusionzoo.conformance.forward import (
    TOLERANCE,
    build_trained_briefly,
    compare_alone_and_in_batch,
    compute_logits,
    largest_difference,
)
from fusionzoo.conformance.other_causes import check_other_causes
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import (
    ADDED_PADDING,
    Row,
    encode_rows,
    make_batch,
    make_rows,
    make_short_rows,
    replace_tokens,
)
from fusionzoo.nn.schema import Batch

ROWS = 12
EXTREME_FACTOR = 1e3


def check_scoring_is_deterministic(subject: Subject) -> None:
    """In evaluation mode, the same batch gives exactly the same logits twice: dropout and noise are off.

    The logits do not depend on batches that were scored before, or on labels.
    """
    batch, other = (make_batch(subject.spec, make_rows(subject.spec, ROWS, seed=seed)) for seed in (2, 3))
    model = build_trained_briefly(subject)
    check_other_causes(model, batch)
    expected = compute_logits(model, batch)
    second_model = build_trained_briefly(subject)
    compute_logits(second_model, other)
    if difference := largest_difference(compute_logits(second_model, batch), expected):
        raise ConformanceError(
            f"the logits of a batch differ by {difference:.2g} if another batch was scored before. Fix: keep no "
            "tensors or counters of earlier batches in attributes, caches or globals"
        )


def check_batch_size_invariance(subject: Subject) -> None:
    """A row gets the same logits alone and in a batch."""
    model, rows = build_trained_briefly(subject), make_rows(subject.spec, ROWS, seed=2)
    if difference := compare_alone_and_in_batch(model, subject.spec, rows):
        check_other_causes(model, make_batch(subject.spec, rows))
        raise ConformanceError(
            f"a row's logits alone and in a batch of {ROWS} differ by {difference:.2g} (tolerance {TOLERANCE:.0e}). "
            "Fix: look for a mean that includes padding, a statistic of the batch, or lost chunks"
        )


def check_row_order_invariance(subject: Subject) -> None:
    """A row gets the same logits at every position in a batch."""
    model, split = build_trained_briefly(subject), encode_rows(subject.spec, make_rows(subject.spec, ROWS, seed=2))
    ascending = np.arange(ROWS)
    expected = compute_logits(model, Batch.from_arrays(split.batch(ascending)))
    for order in (ascending[::-1].copy(), np.random.default_rng(0).permutation(ROWS)):
        logits = compute_logits(model, Batch.from_arrays(split.batch(order.copy())))
        if difference := largest_difference(logits, expected[torch.from_numpy(order)]):
            check_other_causes(model, Batch.from_arrays(split.batch(ascending)))
            raise ConformanceError(
                f"a row's logits change by {difference:.2g} (tolerance {TOLERANCE:.0e}) with the order of the rows. "
                "Fix: do not read batch.row, and do not treat rows as a sequence"
            )


def check_padding_invariance(subject: Subject) -> None:
    """Neither more padding nor other token ids in the padding change the logits."""
    if subject.spec.text is None:
        return
    batch = make_batch(subject.spec, make_short_rows(subject.spec, ROWS, seed=2))
    model = build_trained_briefly(subject)
    wider = replace(
        batch,
        tokens=F.pad(batch.tokens, (0, ADDED_PADDING), value=subject.spec.text.pad_id),
        token_mask=F.pad(batch.token_mask, (0, ADDED_PADDING)),
    )
    generator = torch.Generator().manual_seed(0)
    random_ids = torch.randint(0, subject.spec.text.vocab_size, wider.tokens.shape, generator=generator)
    other_ids = replace(wider, tokens=torch.where(wider.token_mask, wider.tokens, random_ids))
    expected = compute_logits(model, batch)
    for name, changed in (
        (f"{ADDED_PADDING} more columns of padding", wider),
        ("other token ids in the padding", other_ids),
    ):
        if difference := largest_difference(compute_logits(model, changed), expected):
            check_other_causes(model, batch)
            raise ConformanceError(
                f"{name} changed the logits by {difference:.2g} (tolerance {TOLERANCE:.0e}). Fix: mask pooling and "
                "attention, and find padding by batch.token_mask, not by the token id"
            )


def check_rows_are_independent(subject: Subject) -> None:
    """A row's logits do not depend on the text, the order of chunks or the table of other rows."""
    model, rows = build_trained_briefly(subject), make_rows(subject.spec, ROWS, seed=2)
    expected = compute_logits(model, make_batch(subject.spec, rows))
    factor, others = np.float32(EXTREME_FACTOR), make_rows(subject.spec, ROWS, seed=3)
    changes: dict[str, list[Row]] = {
        "other contents of other rows": others,
        "another order of the chunks of other rows": [replace(row, chunks=row.chunks[::-1]) for row in rows],
        "other words in other rows": [replace(row, chunks=tuple(map(replace_tokens, row.chunks))) for row in rows],
        "extreme numbers in other rows": [replace(row, numbers=row.numbers * factor) for row in others],
    }
    for name, changed_rows in changes.items():
        for position in (0, ROWS - 1):
            neighbors = [*changed_rows[:position], rows[position], *changed_rows[position + 1 :]]
            logits = compute_logits(model, make_batch(subject.spec, neighbors))
            if difference := largest_difference(logits[position], expected[position]):
                check_other_causes(model, make_batch(subject.spec, rows))
                raise ConformanceError(
                    f"{name} changed a row's logits by {difference:.2g} (tolerance {TOLERANCE:.0e}). Fix: look for a "
                    "softmax, a norm or a maximum over the rows of a batch, and for chunks assigned to the wrong row"
                )
