"""Explain an out-of-memory error of a training: name the batch, and settings that need about half the memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo import errors
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training import precision

MIN_CHUNK_TOKENS = 64  # shorter chunks are not suggested


@dataclass(frozen=True)
class BatchSize:
    """The size of a batch; each chunk is padded to the longest one."""

    rows: int
    chunks: int
    length: int  # tokens of the longest chunk

    def __str__(self) -> str:
        rows = f"{self.rows} row{'' if self.rows == 1 else 's'}"
        if not self.chunks:
            return rows
        chunks = f"{self.chunks} chunk{'' if self.chunks == 1 else 's'} of {self.length} tokens"
        return f"{rows}, {chunks}, {self.chunks * self.length:,} tokens with padding"


class CurrentBatch(Callback):
    """Remembers the position and the size of the batch that the model computes."""

    def __init__(self) -> None:
        self.place = ""
        self.size: BatchSize | None = None  # None before the first batch

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._remember(batch, f"in training step {trainer.global_step + 1} (epoch {trainer.current_epoch + 1})")

    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._remember(batch, f"in batch {batch_idx + 1} of the validation after step {trainer.global_step}")

    def _remember(self, batch: Batch, place: str) -> None:
        chunks, length = batch.tokens.shape
        self.place, self.size = place, BatchSize(batch.rows, chunks, length)


@contextmanager
def explain_training_memory(trainer: Trainer, settings: JobSettings) -> Iterator[None]:
    """Add the batch and suggested settings to an out-of-memory error of the training.

    Other errors, and those before the first batch, pass unchanged.

    Raises:
        errors.BatchMemoryError: a batch does not fit in memory.
    """
    try:
        yield
    except Exception as error:
        (batch,) = (callback for callback in trainer.callbacks if isinstance(callback, CurrentBatch))  # type: ignore[attr-defined]
        if not errors.is_out_of_memory(error) or batch.size is None:
            raise
        changes = list(suggest_settings(settings, batch.size, str(trainer.precision)))
        raise errors.BatchMemoryError(batch.place, str(batch.size), str(error), changes) from error


def suggest_settings(settings: JobSettings, size: BatchSize, trainer_precision: str) -> Iterator[str]:
    """Yield settings that each need about half the memory of this batch; the optimizer step keeps its rows if possible.

    Args:
        trainer_precision: Lightning's name of the precision, such as "32-true".
    """
    accumulate = 2 * settings.accumulate_grad_batches
    if size.rows > 1 and settings.max_batch_tokens is None:
        rows = max(1, settings.batch_size // 2)
        yield f"set batch_size: {rows} with accumulate_grad_batches: {accumulate} (a step of the same rows)"
    elif size.rows > 1 and size.chunks:
        tokens = size.chunks * size.length // 2
        yield f"set max_batch_tokens: {tokens} with accumulate_grad_batches: {accumulate}"
    if size.length > MIN_CHUNK_TOKENS:
        yield f"max_sen_len: {size.length // 2}"
    if size.chunks > size.rows:
        yield f"max_total_chunks: {max(1, size.chunks // size.rows // 2)}"
    if trainer_precision == "32-true" and precision.has_bf16():
        yield "precision: bf16"
