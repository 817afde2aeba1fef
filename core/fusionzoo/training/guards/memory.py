"""What to do where the memory does not hold a batch: the batch, the memory, and settings that need less."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training import precision
from fusionzoo.training.datamodule import SplitsDataModule

SHORTEST = 64  # tokens per chunk, below which shorter chunks are no advice


@dataclass(frozen=True)
class BatchSize:
    """What a batch makes the model compute: each of its chunks as long as the longest."""

    rows: int
    chunks: int
    length: int  # tokens of the longest chunk

    @property
    def cost(self) -> tuple[int, int]:
        """Tokens with padding, then rows: the larger, the more memory."""
        return self.chunks * self.length, self.rows

    def __str__(self) -> str:
        return _format_batch_size(self.rows, self.chunks, self.length)


class CurrentBatch(Callback):
    """Remembers which batch is under way, and how large it is."""

    def __init__(self) -> None:
        self.doing = "before the first batch"
        self.size: BatchSize | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self.doing = f"in training step {trainer.global_step + 1} (epoch {trainer.current_epoch + 1})"
        self._see(batch)

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self.doing = f"in batch {batch_idx + 1} of the validation after step {trainer.global_step}"
        self._see(batch)

    def _see(self, batch: Batch) -> None:
        encoded_before = getattr(batch, "tokens", None) is None  # a frozen encoder's features stand in for them
        self.size = BatchSize(batch.rows, *((0, 0) if encoded_before else batch.tokens.shape))


def largest_batch(split: EncodedSplit, batches: Iterable[np.ndarray]) -> BatchSize:
    """The largest of a split's batches, each given by its rows."""
    if not split.has_text:
        return BatchSize(max(len(rows) for rows in batches), 0, 0)
    every = RowSizes.of(split)
    taken = (every.take(rows) for rows in batches)
    sizes = (BatchSize(len(s), int(s.chunks.sum()), int(s.longest.max(initial=0))) for s in taken)
    return max(sizes, key=lambda size: size.cost)


@contextmanager
def explain_training_memory(trainer: Trainer, settings: JobSettings, splits: SplitsDataModule) -> Iterator[None]:
    """Turn a want of memory while the trainer fits into advice; any other exception passes.

    Raises:
        errors.BatchMemoryError: it names the batch, the largest of the epoch, the memory, and what to set.
    """
    try:
        yield
    except Exception as error:
        if not errors.is_out_of_memory(error):
            raise
        watch = next(callback for callback in trainer.callbacks if isinstance(callback, CurrentBatch))  # type: ignore[attr-defined]
        largest = largest_batch(splits.train, splits.order.batches(trainer.current_epoch))
        device, chosen = trainer.strategy.root_device, str(trainer.precision)
        raise _explained(error, watch.doing, watch.size, largest, settings, device, chosen) from error


@contextmanager
def explain_scoring_memory(
    splits: Collection[EncodedSplit], settings: JobSettings, device: torch.device
) -> Iterator[None]:
    """The same while splits are scored after the training, in float32."""
    try:
        yield
    except Exception as error:
        if not errors.is_out_of_memory(error):
            raise
        limits = settings.batch_size, settings.max_batch_tokens
        sizes = [largest_batch(split, make_scoring_batches(RowSizes.of(split), *limits)) for split in splits]
        largest = max(sizes, key=lambda size: size.cost)
        raise _explained(
            error, "while the trained model was scoring", None, largest, settings, device, "32-true"
        ) from error


def _explained(
    cause: Exception,
    doing: str,
    size: BatchSize | None,
    largest: BatchSize,
    settings: JobSettings,
    device: torch.device,
    chosen: str,
) -> errors.BatchMemoryError:
    memory = [f"The largest batch of the epoch has {largest}."] if size is None or largest.cost > size.cost else []
    largest = largest if size is None else max(size, largest, key=lambda one: one.cost)
    changes = list(smaller_settings(settings, largest, chosen))
    told = str(size) if size is not None else str(largest)
    return errors.BatchMemoryError(doing, told, str(cause), [*memory, *describe_memory(device, chosen)], changes)


def smaller_settings(settings: JobSettings, largest: BatchSize, chosen: str) -> Iterator[str]:
    """Settings, each of which halves about what the largest batch needs; the step stays as it is where it can."""
    every, tokens = settings.accumulate_grad_batches, largest.chunks * largest.length
    if largest.rows > 1:
        if settings.max_batch_tokens is None:
            yield (
                f"set batch_size: {max(1, settings.batch_size // 2)} with accumulate_grad_batches: {2 * every} "
                "(a step of the same rows)"
            )
        if tokens > 1:
            yield f"max_batch_tokens: {tokens // 2} with accumulate_grad_batches: {2 * every}"
    if largest.length > SHORTEST:
        yield f"max_sen_len: {largest.length // 2}"
    if largest.chunks > largest.rows:
        yield f"max_total_chunks: {max(1, largest.chunks // largest.rows // 2)}"
    if chosen == "32-true" and precision.has_bf16():
        yield "precision: bf16"


def describe_memory(device: torch.device, chosen: str) -> list[str]:
    """What there is of memory, and of it free, on the device of a training."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return [_format_memory(torch.cuda.get_device_name(device), chosen, free, total)]
    page = os.sysconf("SC_PAGE_SIZE")
    free, total = page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    limited = (
        []
        if limit == resource.RLIM_INFINITY
        else [f"This process may use {limit / 2**30:.1f} GiB of address space (ulimit -v)."]
    )
    return [_format_memory("the CPU", chosen, free, total), *limited]


def _format_memory(device: str, chosen: str, free: int, total: int) -> str:
    return f"Precision {chosen} on {device} with {total / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB free."


def _format_batch_size(rows: int, chunks: int, length: int) -> str:
    """Return a batch's size in words; `length` is in tokens per chunk."""
    size = f"{rows} row{'' if rows == 1 else 's'}"
    if not chunks:
        return size
    noun = f"chunk{'' if chunks == 1 else 's'}"
    return f"{size}, {chunks} {noun} of {length} tokens, {chunks * length:,} tokens with padding"
