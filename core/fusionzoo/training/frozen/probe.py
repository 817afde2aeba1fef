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

ENCODER_CHANGES_TOKENS = "its features belong to other tokens than those of the batch"
ENCODER_IS_UNSTEADY = (
    "its features of a row depend on the table, on the other rows of the batch, or on whether the model is training"
)
MODEL_CHANGES_BATCH = "the model calls it with another batch than the one it received, or does not call it"


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
    with torch.no_grad(), _preserve_state(encoder):
        features: TextFeatures = encoder.train()(_invalidate_table(batch))
        encoder.eval()
        expected: list[TextFeatures] = [encoder(row) for row in single_rows]
    if not (torch.equal(features.mask, batch.token_mask) and torch.equal(features.chunk_row, batch.chunk_row)):
        return ENCODER_CHANGES_TOKENS
    pooled, tokens = (torch.cat(parts) for parts in zip(*((f.pooled, f.tokens[f.mask]) for f in expected), strict=True))
    if differ(features.pooled, pooled) or differ(features.tokens[features.mask], tokens):
        return ENCODER_IS_UNSTEADY
    return None


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

    with torch.no_grad(), _preserve_state(model), replace_forward(encoder, forward):
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
def _preserve_state(module: nn.Module) -> Iterator[None]:
    """Restore the buffers and the modes of a module after the block; a forward in training mode can change buffers."""
    modes = [(part, part.training) for part in module.modules()]
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
