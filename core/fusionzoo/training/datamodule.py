"""Feeds encoded splits to the trainer: length-grouped batches for training, all rows once for validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler

from fusionzoo.data.categories import MISSING, UNKNOWN
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import scoring_batches, training_batches
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings


class _Batches(Dataset[Batch]):
    """A split, indexed by (epoch, rows). While training, a few categories are shown as UNKNOWN."""

    def __init__(self, split: EncodedSplit, unknown_rate: float = 0.0, seed: int = 0) -> None:
        self.split, self.unknown_rate, self.seed = split, unknown_rate, seed

    def __getitem__(self, index: tuple[int, np.ndarray]) -> Batch:
        epoch, rows = index
        arrays = self.split.batch(rows)
        if self.unknown_rate:
            rng = np.random.default_rng((self.seed, epoch, int(rows[0])))
            ids = arrays["categories"]
            hidden = (rng.random(ids.shape) < self.unknown_rate) & (ids != MISSING)
            arrays["categories"] = np.where(hidden, UNKNOWN, ids)
        return Batch.of(arrays)


class _TrainingOrder(Sampler[tuple[int, np.ndarray]]):
    """The batches of an epoch; the trainer sets the epoch."""

    def __init__(self, split: EncodedSplit, settings: JobSettings) -> None:
        self.lengths, self.settings, self.epoch = split.row_tokens(), settings, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        batches = training_batches(self.lengths, self.settings.batch_size, self.settings.seed, self.epoch)
        return ((self.epoch, rows) for rows in batches)

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.settings.batch_size)


class SplitsModule(LightningDataModule):
    """The training and validation splits of a job."""

    def __init__(self, train: EncodedSplit, val: EncodedSplit, settings: JobSettings) -> None:
        super().__init__()
        self.train, self.val, self.settings = train, val, settings

    def train_dataloader(self) -> DataLoader[Any]:
        dataset = _Batches(self.train, self.settings.unknown_category_rate, self.settings.seed)
        return self._loader(dataset, _TrainingOrder(self.train, self.settings))

    def val_dataloader(self) -> DataLoader[Any]:
        order = [(0, rows) for rows in scoring_batches(self.val.row_tokens(), self.settings.batch_size)]
        return self._loader(_Batches(self.val), order)

    @staticmethod
    def _loader(dataset: _Batches, order: Any) -> DataLoader[Any]:
        return DataLoader(dataset, sampler=order, batch_size=None, pin_memory=torch.cuda.is_available())
