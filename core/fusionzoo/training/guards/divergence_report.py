"""Texts about a training that diverged: rows, gradients, and what to change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from lightning.pytorch import Trainer
from torch import Tensor

from fusionzoo import errors
from fusionzoo.settings import JobSettings

MAX_LISTED_GRADIENTS = 3


@dataclass(frozen=True)
class GradientNorms:
    """The norm of each parameter's gradient in a step, before clipping; names are relative to the plugin's model."""

    step: int
    names: list[str]
    values: Tensor  # [parameters]


def lookup_ids(ids: pa.Array | pa.ChunkedArray, rows: Iterable[int]) -> list[Any]:
    """Return the ids of these rows, as they are in the data."""
    return [ids[row].as_py() for row in rows]


def suggest_fix(settings: JobSettings, trainer: Trainer) -> str:
    """Return which settings of a diverged training to change."""
    return errors.divergence_fix(settings.lr, settings.gradient_clip_val, str(trainer.precision))


def describe_gradients(current: GradientNorms | None, last_finite: GradientNorms | None) -> list[str]:
    """Return sentences about the nonfinite gradients of a step, and the largest ones of the last finite step."""
    sentences = []
    if current is not None:
        is_finite = current.values.isfinite().tolist()
        nonfinite = [name for name, finite in zip(current.names, is_finite, strict=True) if not finite]
        if nonfinite:
            sentences.append(errors.gradients_not_finite(nonfinite, len(is_finite)))
    if last_finite is not None:
        values, order = last_finite.values.topk(min(MAX_LISTED_GRADIENTS, len(last_finite.names)))
        names = [last_finite.names[i] for i in order.tolist()]
        sentences.append(errors.gradients_largest(last_finite.step, list(zip(names, values.tolist(), strict=True))))
    return sentences
