"""Feeds encoded splits to the trainer: batches that `TrainingOrder` decides, and all rows once for validation."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import splitmix64
from fusionzoo.data.modality_dropout import drop_table, drop_text
from fusionzoo.data.sampling import RowSizes, TrainingOrder, make_scoring_batches
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training.frozen.features import SplitFeatures

log = logging.getLogger(__name__)

IGNORE_INDEX = -1  # the label of a row that is there only so that a rank has one
MODALITY = 1 << 32  # the chance that decides on a row's modality: its number, far above those of categories


class Position(NamedTuple):
    """How far a training is: batches given in this epoch, on each rank; both count from 0."""

    epoch: int
    batches: int


class SplitsDataModule(LightningDataModule):
    """The training and validation splits of a job, as one of several ranks sees them.

    `empty_text` [length] are the tokens of an empty text's chunk, which `modality_dropout` needs.
    Lightning must not put its own sampler in place: with several ranks, `Trainer(use_distributed_sampler=False)`.
    Batches of a split that `features` has come with them, in the same order.
    """

    def __init__(
        self,
        train: EncodedSplit,
        val: EncodedSplit,
        settings: JobSettings,
        rank: int = 0,
        world_size: int = 1,
        features: Mapping[str, SplitFeatures] | None = None,
        empty_text: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        if settings.modality_dropout and empty_text is None:
            raise ValueError("modality_dropout hides a text behind the empty one, which is not given")
        self._empty_text = empty_text
        self.features = features or {}
        self.train, self.val, self.settings, self.rank, self.world_size = train, val, settings, rank, world_size
        sizes, budget = RowSizes.of(train), settings.max_batch_tokens
        order = TrainingOrder(
            sizes,
            settings.batch_size,
            settings.seed,
            max_tokens=budget,
            group_by_length=settings.group_by_length,
            rank=rank,
            world_size=world_size,
        )
        self.order, self._order = order, _Epochs(order)
        if budget is not None and order.rows_over_budget and rank == 0:
            log.warning(errors.rows_beyond_budget(order.rows_over_budget, int(sizes.tokens.max()), budget))

    @property
    def steps(self) -> int:
        """Batches of an epoch on each rank, the same in every epoch."""
        return len(self._order)

    def train_dataloader(self) -> DataLoader[Any]:
        job = self.settings
        shown = _Shown(job.seed, job.unknown_category_rate, job.modality_dropout, self._empty_text)
        return _Loader(_Batches(self.train, shown, self.features.get("train")), self._order)

    def val_dataloader(self) -> DataLoader[Any]:
        job = self.settings
        sizes = RowSizes.of(self.val)
        batches = make_scoring_batches(sizes, job.batch_size, job.max_batch_tokens, self.rank, self.world_size)
        return _Loader(_Batches(self.val, features=self.features.get("val")), [(0, rows) for rows in batches])

    def state_dict(self) -> dict[str, int]:
        """How many batches have been given, for a checkpoint: training goes on from it with the one after them."""
        return self._order.position._asdict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._order.start_at(Position(**state_dict))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return batch.to(device, non_blocking=device.type == "cuda")  # elsewhere it may be read before it has arrived


@dataclass(frozen=True)
class _Shown:
    """What training shows otherwise than it is: a few categories as UNKNOWN, a few rows without text or table."""

    seed: int
    unknown_rate: float
    modality_rate: float
    empty_text: np.ndarray | None

    def of(self, arrays: dict[str, np.ndarray], epoch: int, pad_id: int) -> dict[str, np.ndarray]:
        rows, ids = arrays["row"], arrays["categories"]
        if self.unknown_rate:
            hidden = (_chances(self.seed, epoch, rows, ids.shape[1]) < self.unknown_rate) & (ids != MISSING)
            arrays = {**arrays, "categories": np.where(hidden, UNKNOWN, ids)}
        if self.modality_rate and self.empty_text is not None:
            chance = _chances(self.seed, epoch, rows, 1, MODALITY)[:, 0]
            arrays = drop_text(arrays, chance < self.modality_rate / 2, self.empty_text, pad_id)
            arrays = drop_table(arrays, (chance >= self.modality_rate / 2) & (chance < self.modality_rate))
        return arrays


class _Batches(Dataset[Batch]):
    """A split, indexed by (epoch, rows), as it is or as it is `shown`.

    A rank that has no rows in a step gets one that does not count, so that it does what the others do.
    """

    def __init__(self, split: EncodedSplit, shown: _Shown | None = None, features: SplitFeatures | None = None) -> None:
        self.split, self.shown, self.features = split, shown, features

    def __getitem__(self, index: tuple[int, np.ndarray]) -> Batch:
        epoch, rows = index
        idle = len(rows) == 0
        rows = np.zeros(1, np.int64) if idle else rows
        arrays = self.split.batch(rows, text=self.features is None or self.features.text)
        if idle:
            arrays["labels"] = np.full(1, IGNORE_INDEX)
        if self.shown is not None:
            arrays = self.shown.of(arrays, epoch, self.split.pad_id)
        batch = Batch.from_arrays(arrays)
        if self.features is not None:
            batch = self.features.attach(batch)
        return batch.map(Tensor.pin_memory) if torch.cuda.is_available() else batch  # a DataLoader pins no `Batch`


class _Epochs(Sampler[tuple[int, np.ndarray]]):
    """The batches of an epoch, which the trainer sets; that of `position` begins after the batches given before."""

    def __init__(self, order: TrainingOrder) -> None:
        self._order, self._epoch = order, 0
        self._start = self.position = Position(0, 0)

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def start_at(self, position: Position) -> None:
        self._epoch, self._start, self.position = position.epoch, position, position

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        # A generator: Lightning asks for the iterator first and sets the epoch then.
        epoch = self._epoch
        start = self._start.batches if epoch == self._start.epoch else 0
        for number, rows in enumerate(self._order.batches(epoch)[start:], start + 1):
            self.position = Position(epoch, number)
            yield epoch, rows

    def __len__(self) -> int:
        return self._order.steps  # of a whole epoch: Lightning counts the batches before the start as done


class _Loader(DataLoader[Any]):
    """Gives a split's batches one after the other, and draws nothing from the random numbers that a model uses."""

    def __init__(self, dataset: _Batches, order: Any) -> None:
        super().__init__(dataset, sampler=order, batch_size=None, generator=torch.Generator())


def _chances(seed: int, epoch: int, rows: np.ndarray, fields: int, first: int = 0) -> np.ndarray:
    """Random numbers below 1 [rows, fields] float64, which a row has in an epoch whatever batch it stands in.

    They are those with the numbers `first`, `first` + 1 and so on, of all that the row has.
    """
    key = splitmix64(np.array([seed << 32 | epoch], np.uint64))
    keys = splitmix64(key + rows.astype(np.uint64))
    cells = splitmix64(keys[:, None] + np.arange(first, first + fields, dtype=np.uint64))
    chances: np.ndarray = (cells >> np.uint64(11)) * 2.0**-53
    return chances
