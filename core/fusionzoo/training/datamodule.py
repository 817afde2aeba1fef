"""Feed encoded splits to the trainer: training batches as `TrainingOrder` orders them, each validation row once."""

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

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.hashing import splitmix64
from fusionzoo.data.modality_dropout import drop_table, drop_text
from fusionzoo.data.sampling import RowSizes, TrainingOrder, make_scoring_batches
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.data.targets.target import missing_labels
from fusionzoo.errors.wording import pluralize
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.frozen.feature_batches import SplitFeatures

log = logging.getLogger(__name__)

MODALITY_DRAW = 1 << 32  # the number of the draw that decides on dropping a modality; categories use the first ones


class Position(NamedTuple):
    """The position of a training: the epoch and the batches of it that each process has received, both from 0."""

    epoch: int
    batches: int


class SplitsDataModule(LightningDataModule):
    """The training and validation batches of one process of a job.

    With several processes, use `Trainer(use_distributed_sampler=False)`: the batches are already distributed.

    Args:
        world: which process this is, and of how many.
        features: a frozen text encoder's features by split; a split's batches then carry them, in the same order.
        empty_text: the tokens of an empty text's chunk [length], which replace a text that `modality_dropout` drops.
    """

    def __init__(
        self,
        train: EncodedSplit,
        val: EncodedSplit,
        settings: JobSettings,
        world: World = SINGLE_PROCESS,
        features: Mapping[str, SplitFeatures] | None = None,
        empty_text: np.ndarray | None = None,
    ) -> None:
        super().__init__()
        if settings.modality_dropout and empty_text is None:
            raise ValueError("modality_dropout needs empty_text")
        self.train, self.val, self.settings, self.world = train, val, settings, world
        self.features, self._empty_text = features or {}, empty_text
        sizes, max_tokens = RowSizes.of(train), settings.max_batch_tokens
        self.order = TrainingOrder(
            sizes,
            settings.batch_size,
            settings.seed,
            max_tokens=max_tokens,
            group_by_length=settings.group_by_length,
            rank=world.rank,
            world_size=world.size,
        )
        self._sampler = _EpochSampler(self.order)
        if max_tokens is not None and self.order.rows_over_budget and world.is_first:
            log.warning(
                "%s of train exceed max_batch_tokens = %s and form batches of their own, of up to %s tokens including "
                "padding. If they do not fit into memory, lower max_total_chunks.",
                pluralize(self.order.rows_over_budget, "row"),
                *(f"{max_tokens:,}", f"{int(sizes.tokens.max()):,}"),
            )

    @property
    def steps(self) -> int:
        """The number of training batches per epoch on each process; the same in every epoch."""
        return len(self._sampler)

    def train_dataloader(self) -> DataLoader[Any]:
        job = self.settings
        augmentation = _Augmentation(job.seed, job.unknown_category_rate, job.modality_dropout, self._empty_text)
        return _BatchLoader(_Batches(self.train, augmentation, self.features.get("train")), self._sampler)

    def val_dataloader(self) -> DataLoader[Any]:
        job, sizes = self.settings, RowSizes.of(self.val)
        batches = make_scoring_batches(sizes, job.batch_size, job.max_batch_tokens, self.world.rank, self.world.size)
        return _BatchLoader(_Batches(self.val, features=self.features.get("val")), [(0, rows) for rows in batches])

    def state_dict(self) -> dict[str, int]:
        """Return the position of the training, for a checkpoint: a resumed training starts after these batches."""
        return self._sampler.position._asdict()

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self._sampler.resume_at(Position(**state_dict))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        # Only copies to a GPU are ordered with the computation; other ones could be read before they are complete.
        return batch.to(device, non_blocking=device.type == "cuda")


@dataclass(frozen=True)
class _Augmentation:
    """Random changes to training batches: some categories become UNKNOWN, some rows lose their text or their table."""

    seed: int
    unknown_rate: float
    modality_rate: float
    empty_text: np.ndarray | None

    def apply(self, arrays: dict[str, np.ndarray], epoch: int, pad_id: int) -> dict[str, np.ndarray]:
        """Return the arrays of a batch with the changes of this epoch; the input is not modified."""
        rows, categories = arrays["row"], arrays["categories"]
        if self.unknown_rate:
            draws = _draw_uniform(self.seed, epoch, rows, categories.shape[1])
            becomes_unknown = (draws < self.unknown_rate) & (categories != MISSING)
            arrays = {**arrays, "categories": np.where(becomes_unknown, UNKNOWN, categories)}
        if self.modality_rate and self.empty_text is not None:
            draws = _draw_uniform(self.seed, epoch, rows, 1, MODALITY_DRAW)[:, 0]
            arrays = drop_text(arrays, draws < self.modality_rate / 2, self.empty_text, pad_id)
            arrays = drop_table(arrays, (draws >= self.modality_rate / 2) & (draws < self.modality_rate))
        return arrays


class _Batches(Dataset[Batch]):
    """The batches of a split, indexed by (epoch, rows).

    Without rows, a batch has one row whose label is missing, so that the process still takes part in the step.
    """

    def __init__(
        self, split: EncodedSplit, augmentation: _Augmentation | None = None, features: SplitFeatures | None = None
    ) -> None:
        self.split, self.augmentation, self.features = split, augmentation, features

    def __getitem__(self, index: tuple[int, np.ndarray]) -> Batch:
        epoch, rows = index
        is_idle = len(rows) == 0
        rows = np.zeros(1, np.int64) if is_idle else rows
        arrays = self.split.batch(rows)
        if is_idle:
            arrays["labels"] = missing_labels(arrays["labels"])
        if self.augmentation is not None:
            arrays = self.augmentation.apply(arrays, epoch, self.split.pad_id)
        batch = Batch.from_arrays(arrays)
        if self.features is not None:
            batch = self.features.attach(batch)
        return batch.map(Tensor.pin_memory) if torch.cuda.is_available() else batch  # DataLoader cannot pin a `Batch`


class _EpochSampler(Sampler[tuple[int, np.ndarray]]):
    """Yield the (epoch, rows) of each batch; after a resume, skip the batches before the resumed position."""

    def __init__(self, order: TrainingOrder) -> None:
        self._order, self._epoch = order, 0
        self._resumed = self.position = Position(0, 0)

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning at the start of each epoch."""
        self._epoch = epoch

    def resume_at(self, position: Position) -> None:
        self._epoch, self._resumed, self.position = position.epoch, position, position

    def __iter__(self) -> Iterator[tuple[int, np.ndarray]]:
        # This must be a generator: Lightning creates the iterator before it sets the epoch.
        epoch = self._epoch
        start = self._resumed.batches if epoch == self._resumed.epoch else 0
        for number, rows in enumerate(self._order.batches(epoch)[start:], start + 1):
            self.position = Position(epoch, number)
            yield epoch, rows

    def __len__(self) -> int:
        return self._order.steps  # of a whole epoch: Lightning counts the skipped batches as done


class _BatchLoader(DataLoader[Any]):
    """Load whole batches, without drawing from the global random numbers, which the model uses."""

    def __init__(self, dataset: _Batches, sampler: Any) -> None:
        super().__init__(dataset, sampler=sampler, batch_size=None, generator=torch.Generator())


def _draw_uniform(seed: int, epoch: int, rows: np.ndarray, count: int, first: int = 0) -> np.ndarray:
    """Return uniform random numbers in [0, 1), [rows, count] float64, numbers `first` to `first + count - 1` of a row.

    They depend on the seed, the epoch, the row and their number only, not on the batch that the row is in.
    """
    key = splitmix64(np.array([seed << 32 | epoch], np.uint64))
    row_keys = splitmix64(key + rows.astype(np.uint64))
    bits = splitmix64(row_keys[:, None] + np.arange(first, first + count, dtype=np.uint64))
    draws: np.ndarray = (bits >> np.uint64(11)) * 2.0**-53
    return draws
