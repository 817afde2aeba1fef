"""Probabilities of rows, in float32 and in the order of the split, however they are batched."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, scoring_batches
from fusionzoo.nn.schema import Batch, ModelOutput


def logits_of(output: Tensor | ModelOutput) -> Tensor:
    """The logits [rows, classes] of whatever a model's forward returned."""
    return output.logits if isinstance(output, ModelOutput) else output


def score(
    model: nn.Module,
    split: EncodedSplit,
    batch_size: int,
    rows: np.ndarray | None = None,
    max_tokens: int | None = None,
) -> np.ndarray:
    """Probabilities [rows, classes] float32 of the split, or of these rows of it, with dropout and autocast off.

    With `max_tokens`, a batch has as many rows as stay within it, whatever `batch_size` is.
    """
    rows = np.arange(len(split)) if rows is None else rows
    was_training = model.training
    model.eval()
    parts: list[np.ndarray] = []
    order: list[np.ndarray] = []
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for chosen in scoring_batches(RowSizes.of(split).take(rows), batch_size, max_tokens):
            batch = Batch.of(split.batch(rows[chosen])).to(device)
            parts.append(logits_of(model(batch)).float().softmax(dim=-1).cpu().numpy())
            order.append(chosen)
    model.train(was_training)
    scores = np.empty((len(rows), parts[0].shape[1]), np.float32)
    scores[np.concatenate(order)] = np.concatenate(parts)
    return scores
