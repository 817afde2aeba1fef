"""Probabilities of rows, in float32 and in the order of the split, however they are batched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.schema import Batch, ModelOutput


def get_logits(output: Tensor | ModelOutput) -> Tensor:
    """The logits [rows, classes] of whatever a model's forward returned."""
    return output.logits if isinstance(output, ModelOutput) else output


def predict_proba(
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
    order = make_scoring_batches(RowSizes.of(split).take(rows), batch_size, max_tokens)
    parts = predict_batches(model, split, [rows[chosen] for chosen in order])
    values = np.concatenate([part for _, part in parts])
    scores = np.empty_like(values)
    scores[np.concatenate(order)] = values
    return scores


def predict_batches(
    model: nn.Module, split: EncodedSplit, batches: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The rows of each batch, and their probabilities [rows, classes] float32, as `score` has them."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for rows in batches:
            batch = Batch.from_arrays(split.batch(rows)).to(device)
            yield rows, get_logits(model(batch)).float().softmax(dim=-1).cpu().numpy()
    model.train(was_training)
