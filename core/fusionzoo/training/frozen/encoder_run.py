"""Run a frozen encoder over a split, as training would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ragged import concatenate_ranges
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.training import precision
from fusionzoo.training.frozen.feature_batches import locate_tokens, to_array
from fusionzoo.training.precision import Precision

BLOCK_TOKENS = 2**16  # encoded between two writes


@dataclass(frozen=True)
class EncoderRun:
    """A model with its frozen encoder, and how training runs them; `max_tokens` has priority over `batch_size`."""

    model: nn.Module
    encoder: nn.Module
    precision: Precision
    device: torch.device
    batch_size: int
    max_tokens: int | None

    @contextmanager
    def prepare(self) -> Iterator[None]:
        """Put the model on the device, in evaluation mode, during the block."""
        original_device = next(self.model.parameters()).device
        modes = [(part, part.training) for part in self.model.modules()]
        self.model.to(self.device).eval()
        try:
            yield
        finally:
            self.model.to(original_device)
            for part, mode in modes:
                part.training = mode

    def encode(self, batch: Batch) -> TextFeatures:
        """Return the features of a batch that is on the device."""
        with precision.autocast(self.precision, self.device):
            features: TextFeatures = self.encoder(batch)
        return features

    def encode_blocks(self, split: EncodedSplit, with_tokens: bool) -> Iterator[dict[str, np.ndarray]]:
        """Yield the features of blocks of consecutive rows; within a block, batches have rows of similar length.

        The arrays are `pooled` [rows, dim] and, `with_tokens`, `tokens` [tokens, dim].
        """
        sizes = RowSizes.of(split)
        for rows in split_into_blocks(split):
            starts, lengths = locate_tokens(split, rows)
            block: dict[str, np.ndarray] = {}
            for chosen in make_scoring_batches(sizes.take(rows), self.batch_size, self.max_tokens):
                batch = Batch.from_arrays(split.batch(rows[chosen]))
                features = self.encode(batch.to(self.device))
                _write(block, "pooled", len(rows), chosen, features.pooled)
                if with_tokens:
                    positions = concatenate_ranges(starts[chosen] - starts[0], lengths[chosen])
                    _write(block, "tokens", int(lengths.sum()), positions, features.tokens[features.mask])
            yield block


def split_into_blocks(split: EncodedSplit) -> list[np.ndarray]:
    """Return all rows in order, in blocks of about `BLOCK_TOKENS` tokens."""
    starts, _ = locate_tokens(split, np.arange(len(split)))
    cuts = np.flatnonzero(np.diff(starts // BLOCK_TOKENS)) + 1
    return np.split(np.arange(len(split)), cuts)


def _write(block: dict[str, np.ndarray], name: str, length: int, positions: np.ndarray, values: Tensor) -> None:
    """Write values at positions of a block's array, which the first call creates."""
    array = to_array(values)
    if name not in block:
        block[name] = np.empty((length, *array.shape[1:]), array.dtype)
    block[name][positions] = array
