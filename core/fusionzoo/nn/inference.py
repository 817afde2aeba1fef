"""Compute the scores of rows in float32, in the order of the split, independent of how rows are batched."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.schema import Batch, ModelOutput

ROWS_PER_BLOCK = 2**14


def get_logits(output: Tensor | ModelOutput) -> Tensor:
    """Return the logits [rows, outputs] from the return value of a model's forward."""
    return output.logits if isinstance(output, ModelOutput) else output


def predict_scores(
    model: nn.Module,
    link: nn.Module,
    split: EncodedSplit,
    batch_size: int,
    rows: np.ndarray | None = None,
    max_tokens: int | None = None,
) -> np.ndarray:
    """Return the scores [rows, outputs] float32 of a split or of some of its rows, without dropout or autocast.

    Args:
        model: the architecture; afterwards it is in the mode (training or evaluation) that it was in before.
        link: turns logits into scores, such as the softmax of a classification.
        split: the encoded rows.
        batch_size: rows per batch; ignored if `max_tokens` is given.
        rows: positions in the split; by default all.
        max_tokens: maximum padded tokens per batch.
    """
    rows = np.arange(len(split)) if rows is None else rows
    order = make_scoring_batches(RowSizes.of(split).take(rows), batch_size, max_tokens)
    batches = predict_batches(model, link, split, [rows[positions] for positions in order])
    values = np.concatenate([batch_scores for _, batch_scores in batches])
    scores = np.empty_like(values)
    scores[np.concatenate(order)] = values
    return scores


def apply_link(link: nn.Module, outputs: np.ndarray) -> np.ndarray:
    """Return the scores [rows, outputs] float32 of the outputs of a network, computed on the CPU."""
    scores = np.empty_like(outputs)
    link.cpu()
    with torch.inference_mode():
        for start in range(0, len(outputs), ROWS_PER_BLOCK):
            block = slice(start, start + ROWS_PER_BLOCK)
            scores[block] = link(torch.from_numpy(outputs[block])).numpy()
    return scores


def predict_batches(
    model: nn.Module, link: nn.Module, split: EncodedSplit, batches: Sequence[np.ndarray]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each batch's rows and their scores [rows, outputs] float32, computed as in `predict_scores`."""
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    link.to(device)
    with torch.inference_mode(), torch.autocast(device.type, enabled=False):
        for rows in batches:
            batch = Batch.from_arrays(split.batch(rows)).to(device)
            yield rows, link(get_logits(model(batch)).float()).cpu().numpy()
    model.train(was_training)
