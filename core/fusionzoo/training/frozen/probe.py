"""Check on a few rows whether stored features can replace a frozen encoder, and which features the model reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch, TextFeatures

TEXT_FIELDS = frozenset({"tokens", "token_mask", "chunk_row"})  # of a `Batch`
MAX_ROWS = 8
TOLERANCES = {torch.float32: 5e-3, torch.bfloat16: 0.1, torch.float16: 1e-2}  # relative to the largest feature

ENCODER_CHANGES_TOKENS = (
    "its features belong to other tokens than those of the batch. Fix: in the encoder, return token_mask and chunk_row "
    "of the batch unchanged"
)
ENCODER_DEPENDS_ON_MODE = (
    "its features differ between training and evaluation mode, for example because dropout is active in training. Fix: "
    "override train() of the encoder so that a frozen encoder stays in evaluation mode, as BertEncoder of "
    "fusionzoo-bert does with freeze_text_encoder"
)
ENCODER_MIXES_ROWS = (
    "its features of a row depend on the other rows of the batch, or on padding. Fix: in the encoder, look for a mean "
    "or a norm over the batch, and for attention without token_mask"
)
ENCODER_READS_MORE_THAN_TEXT = (
    "its features depend on fields of the batch that are not text, such as numbers. Fix: read these fields in the "
    "model, not in its text encoder"
)
ENCODER_IS_UNSTEADY = (
    "its features of a row change between training and evaluation for several reasons together. Fix: in the encoder, "
    "let the features of a row depend only on its tokens, and keep a frozen encoder in evaluation mode"
)
MODEL_CHANGES_BATCH = (
    "the model calls it with another batch than the one it received, or does not call it. Fix: in forward of the "
    "model, call the text encoder with the batch as it is"
)


@dataclass(frozen=True)
class ModelReads:
    """How a model uses its text encoder, in training mode and in evaluation mode."""

    passes_batch: bool  # whether the encoder always receives the batch that the model received
    reads_tokens: bool  # whether the model reads the features of tokens, not only the pooled ones


class _WatchedFeatures(TextFeatures):
    """Features that record whether their tokens were read."""

    tokens_were_read = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("tokens", "__dict__"):
            object.__setattr__(self, "tokens_were_read", True)
        return super().__getattribute__(name)


def sample_rows(split: EncodedSplit) -> np.ndarray:
    """Return a few rows, from the shortest to the longest [rows] int64."""
    by_length = np.argsort(split.row_tokens(), kind="stable")
    rows: np.ndarray = by_length[np.unique(np.linspace(0, len(by_length) - 1, MAX_ROWS).astype(int))]
    return rows


@contextmanager
def replace_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Replace the forward of a module during the block; its parameters, buffers and names stay the same."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # restores the method of the class


def find_obstacle(encoder: nn.Module, batch: Batch, single_rows: Sequence[Batch]) -> str | None:
    """Return why stored features would differ from those of a training step; None if they would not differ.

    The encoder must compute the same features in training mode, in a batch, and with an invalid table as in evaluation
    mode, row by row, and with the real table.

    Args:
        batch: a few rows in one batch.
        single_rows: the same rows in batches of one row.
    """
    with torch.no_grad(), preserve_state(encoder):
        features: TextFeatures = encoder.train()(_invalidate_table(batch))
        encoder.eval()
        expected: list[TextFeatures] = [encoder(row) for row in single_rows]
    if not (torch.equal(features.mask, batch.token_mask) and torch.equal(features.chunk_row, batch.chunk_row)):
        return ENCODER_CHANGES_TOKENS
    return _explain_difference(encoder, batch, expected) if features_differ([features], expected) else None


def features_differ(actual: Sequence[TextFeatures], expected: Sequence[TextFeatures]) -> bool:
    """Return whether features differ, each given in one batch or in several."""
    pairs = zip(_join_batches(actual), _join_batches(expected), strict=True)
    return any(differ(one, other) for one, other in pairs)


def _join_batches(features: Sequence[TextFeatures]) -> tuple[Tensor, Tensor]:
    """Return the pooled features [rows, dim] and those of real tokens [tokens, dim] of several batches."""
    return torch.cat([f.pooled for f in features]), torch.cat([f.tokens[f.mask] for f in features])


def _explain_difference(encoder: nn.Module, batch: Batch, expected: Sequence[TextFeatures]) -> str:
    """Return why the features of a training step differ from those of rows in evaluation mode, with the fix.

    Args:
        expected: the features of the rows in evaluation mode, in batches of one row.
    """
    with torch.no_grad(), preserve_state(encoder):
        in_training: TextFeatures = encoder.train()(batch)
        encoder.eval()
        in_batch: TextFeatures = encoder(batch)
        without_table: TextFeatures = encoder(_invalidate_table(batch))
    causes = {
        ENCODER_DEPENDS_ON_MODE: features_differ([in_training], [in_batch]),
        ENCODER_MIXES_ROWS: features_differ([in_batch], expected),
        ENCODER_READS_MORE_THAN_TEXT: features_differ([without_table], [in_batch]),
    }
    return ". Also, ".join(cause for cause, applies in causes.items() if applies) or ENCODER_IS_UNSTEADY


def _invalidate_table(batch: Batch) -> Batch:
    """Return the batch with NaN numbers, MISSING categories, and other values in every field that is not text."""
    values = {f.name: getattr(batch, f.name) for f in fields(batch) if f.name not in TEXT_FIELDS}
    return replace(batch, **{name: _invalidate(value) for name, value in values.items() if value is not None})


def _invalidate(values: Tensor) -> Tensor:
    if values.dtype == torch.bool:
        return ~values
    return torch.full_like(values, torch.nan if values.is_floating_point() else 0)


def probe_model(model: nn.Module, encoder: nn.Module, batch: Batch, features: TextFeatures) -> ModelReads:
    """Run the model with these features of the batch, and return how it uses its encoder."""
    watched = _WatchedFeatures(features.tokens, features.mask, features.chunk_row, features.pooled)
    received: list[Batch] = []

    def forward(batch: Batch) -> TextFeatures:
        received.append(batch)
        return watched

    with torch.no_grad(), preserve_state(model), replace_forward(encoder, forward):
        for training in (True, False):
            model.train(training)(batch)
    return ModelReads(bool(received) and all(b is batch for b in received), watched.tokens_were_read)


def differ(actual: Tensor, expected: Tensor, dtype: torch.dtype = torch.float32) -> bool:
    """Return whether features differ by more than rounding in this dtype; dropout differs by much more."""
    if actual.shape != expected.shape:
        return True
    if not actual.numel():
        return False
    actual, expected = actual.float(), expected.float()
    is_close = (actual - expected).abs().max() <= TOLERANCES[dtype] * expected.abs().max()
    return not is_close  # also if a value is NaN


@contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Restore the buffers, the modes and the other attributes of a module after the block.

    A forward in training mode can change a buffer in place, or replace it, and count in an attribute.
    """
    attributes = [(part, dict(vars(part)), dict(part._buffers)) for part in module.modules()]
    values = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for part, saved, buffers in attributes:
            vars(part).clear()
            vars(part).update(saved)
            part._buffers.clear()
            part._buffers.update(buffers)
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)
