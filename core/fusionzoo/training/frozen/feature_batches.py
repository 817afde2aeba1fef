"""Batches that carry the stored features of their text, and a model that reads them instead of running its encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ragged import concatenate_ranges
from fusionzoo.nn.schema import Batch, TextFeatures
from fusionzoo.training.frozen.probe import replace_forward

NO_FEATURES = cast(Tensor, None)  # instead of features that the model does not read: reading them fails


@dataclass
class FeatureBatch(Batch):
    """A batch with the features of its text."""

    pooled: Tensor  # [rows, dim]
    features: Tensor  # [chunks, length, dim], zero on padding; None if the model does not read them


@dataclass(frozen=True)
class SplitFeatures:
    """The features of a split, in the precision of the encoder that computed them; bfloat16 is stored as int16."""

    split: EncodedSplit
    pooled: np.ndarray  # [rows, dim]
    tokens: np.ndarray | None  # [all tokens, dim]; None if the model does not read them

    def attach(self, batch: Batch) -> FeatureBatch:
        """Return the batch with the features of its rows."""
        rows = batch.row.numpy()
        features = NO_FEATURES
        if self.tokens is not None:
            mask, (starts, lengths) = batch.token_mask.numpy(), locate_tokens(self.split, rows)
            padded = np.zeros((*mask.shape, self.tokens.shape[1]), self.tokens.dtype)
            padded[mask] = self.tokens[concatenate_ranges(starts, lengths)]
            features = to_tensor(padded)
        return FeatureBatch(**vars(batch), pooled=to_tensor(self.pooled[rows]), features=features)


@contextmanager
def replace_encoder(encoder: nn.Module | None) -> Iterator[None]:
    """Make the encoder return the features of a `FeatureBatch` during the block; None changes nothing."""
    if encoder is None:
        yield
        return
    with replace_forward(encoder, _get_features):
        yield


def _get_features(batch: Batch) -> TextFeatures:
    if not isinstance(batch, FeatureBatch):
        raise TypeError("The model calls its text encoder with a new batch. It did not when it was probed.")
    return TextFeatures(batch.features, batch.token_mask, batch.chunk_row, batch.pooled)


def locate_tokens(split: EncodedSplit, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the tokens of each row start among all tokens of the split, and their number [rows] int64."""
    starts = split.chunk_starts[split.row_starts[rows]]
    return starts, split.chunk_starts[split.row_starts[rows + 1]] - starts


def to_array(values: Tensor) -> np.ndarray:
    """Return a numpy array on the CPU; numpy has no bfloat16, so its bits become int16."""
    array: np.ndarray = (values.view(torch.int16) if values.dtype == torch.bfloat16 else values).cpu().numpy()
    return array


def to_tensor(array: np.ndarray) -> Tensor:
    """Return the tensor of which `to_array` made this array."""
    values = torch.from_numpy(array)
    return values.view(torch.bfloat16) if array.dtype == np.int16 else values
