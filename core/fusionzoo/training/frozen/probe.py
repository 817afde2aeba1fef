"""Whether a frozen encoder's features can stand in for it, and which of them a model reads: found by trying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch, TextFeatures

T = TypeVar("T")
TEXT = frozenset({"tokens", "token_mask", "chunk_row"})  # what a batch has of its text
MOST_ROWS = 8
TOLERANCE = {torch.float32: 5e-3, torch.bfloat16: 0.1, torch.float16: 1e-2}  # of the largest feature


@dataclass(frozen=True)
class FieldReads:
    """The fields that a model read of a batch and of its text's features, in training and in evaluation."""

    batch: frozenset[str]
    features: frozenset[str]
    passes_on: bool  # whether the encoder is given the batch as the model was given it, each time


ENCODER_HAS_OTHER_TOKENS = "its features have other tokens than the batch"
ENCODER_IS_UNSTEADY = "its features of a row change in training mode or with the other rows of the batch"
MODEL_CHANGES_THE_BATCH = "the model passes it another batch than it received, or none"


def sample_rows(split: EncodedSplit) -> np.ndarray:
    """A few rows from the shortest to the longest, int64."""
    by_length = np.argsort(split.row_tokens(), kind="stable")
    rows: np.ndarray = by_length[np.unique(np.linspace(0, len(by_length) - 1, MOST_ROWS).astype(int))]
    return rows


@contextmanager
def replaced_forward(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Another forward in the place of a module's own; its parameters, buffers and names stay as they are."""
    module.forward = forward
    try:
        yield
    finally:
        del module.forward  # the class's own is there again


def find_obstacle(encoder: nn.Module, rows: Sequence[Batch], together: Batch) -> str | None:
    """Why features that are kept would not be those of a training step; None where they are.

    The encoder must read nothing but the text, and make of a row in training, among others, what it makes of it in
    evaluation, alone.

    Args:
        rows: batches of one row each.
        together: the same rows in one batch.
    """
    with torch.no_grad(), _as_it_was(encoder):
        given, read = watch_reads(together)
        found: TextFeatures = encoder.train()(given)
        encoder.eval()
        alone: list[TextFeatures] = [encoder(row) for row in rows]
    if not read <= TEXT:
        return f"it reads more of a batch than the text: {', '.join(sorted(read - TEXT))}"
    if not (torch.equal(found.mask, together.token_mask) and torch.equal(found.chunk_row, together.chunk_row)):
        return ENCODER_HAS_OTHER_TOKENS
    expected = torch.cat([one.tokens[one.mask] for one in alone])
    if differ(found.pooled, torch.cat([one.pooled for one in alone])) or differ(found.tokens[found.mask], expected):
        return ENCODER_IS_UNSTEADY
    return None


def probe_reads(model: nn.Module, encoder: nn.Module, batch: Batch, features: TextFeatures) -> FieldReads:
    """What the model reads of a batch, whose text has these features."""
    given, read = watch_reads(batch)
    made, read_features = watch_reads(features)
    passed: list[Batch] = []

    def forward(batch: Batch) -> TextFeatures:
        passed.append(batch)
        return made

    with torch.no_grad(), _as_it_was(model), replaced_forward(encoder, forward):
        for training in (True, False):
            model.train(training)(given)
    return FieldReads(frozenset(read), frozenset(read_features), bool(passed) and all(one is given for one in passed))


def watch_reads(value: T) -> tuple[T, set[str]]:
    """A shallow copy of a dataclass's instance, and the names of its fields that were read since, which grow.

    What `dataclasses.replace` makes of the copy is watched, too. `Batch.rows` counts as nothing read.
    """
    names, read = {f.name for f in fields(value)}, set[str]()  # type: ignore[arg-type]
    kind: Any = type(value)

    class Watched(kind):  # type: ignore[misc]
        def __getattribute__(self, name: str) -> Any:
            if name == "rows":
                return value.rows  # type: ignore[attr-defined]
            read.update(names if name == "__dict__" else {name} & names)
            return super().__getattribute__(name)

    return Watched(**{name: getattr(value, name) for name in names}), read


def differ(one: Tensor, other: Tensor, arithmetic: torch.dtype = torch.float32) -> bool:
    """Whether features are others than rounding in this arithmetic explains; dropout changes one by all that it is."""
    if one.shape != other.shape:
        return True
    scale = max(float(one.abs().max()), float(other.abs().max())) if one.numel() else 0.0
    return not torch.allclose(one.float(), other.float(), rtol=0, atol=TOLERANCE[arithmetic] * scale)


@contextmanager
def _as_it_was(module: nn.Module) -> Iterator[None]:
    """Puts back buffers and modes, which running a module in training can change."""
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
