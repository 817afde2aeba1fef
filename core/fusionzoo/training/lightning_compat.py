"""Everything that depends on Lightning's internals: loop counters, progress objects and differences between versions.

No other module reads or writes them.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from packaging.version import Version

RESUMES_WITHIN_EPOCH_SINCE = "2.5"
LOOP_KEYS = {"epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"}
"""The entries of a checkpoint that `fit_loop` resumes from."""


def total_batches(trainer: Trainer) -> int:
    """Return the number of batches of all epochs, on each process."""
    return int((trainer.max_epochs or 0) * trainer.num_training_batches)


def batches_done(trainer: Trainer) -> int:
    """Return the number of batches trained so far, including those of the runs that this one resumed from."""
    return int(trainer.current_epoch * trainer.num_training_batches + trainer.fit_loop.epoch_loop.batch_idx + 1)


def is_last_batch(trainer: Trainer) -> bool:
    """Return whether the current training batch is the last one of its epoch."""
    return trainer.fit_loop.epoch_loop.batch_progress.is_last_batch


def is_last_step(trainer: Trainer) -> bool:
    """Return whether the current training batch is the last one of the training."""
    return is_last_batch(trainer) and trainer.current_epoch + 1 >= (trainer.max_epochs or 0)


def is_mid_accumulation(trainer: Trainer) -> bool:
    """Return whether the current optimizer step accumulates more batches after the current one."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.current.ready
    return batches % trainer.accumulate_grad_batches != 0 and not is_last_batch(trainer)


def is_validation_due(trainer: Trainer, batch_idx: int) -> bool:
    """Return whether a validation follows this training batch of the epoch."""
    return (batch_idx + 1) % int(trainer.val_check_batch) == 0  # type: ignore[arg-type]


def raise_if_interrupted(trainer: Trainer) -> None:
    """Raise KeyboardInterrupt if an interrupt ended the fit: Lightning before 2.3 returns as if training had ended."""
    if trainer.interrupted:
        raise KeyboardInterrupt


def make_compat_callbacks(lightning_version: str = lightning.__version__) -> list[Callback]:
    """Return the callbacks that a trainer of this Lightning version needs; none for current versions."""
    return [] if Version(lightning_version) >= Version(RESUMES_WITHIN_EPOCH_SINCE) else [ResumeWithinEpoch()]


class ResumeWithinEpoch(Callback):
    """Correct Lightning's counters when a training resumes within an epoch, which Lightning before 2.5 does not do.

    At the end of a batch, Lightning saves counters that do not include this batch. Before 2.5 it does not add the batch
    when it resumes, and it repeats a validation that was due there. Our checkpoints are always saved after that
    validation.
    """

    def __init__(self) -> None:
        self._delays_validation = False
        self._val_check_batch: int | float | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]["current"]
        if epochs["processed"] == epochs["started"]:
            return  # saved between two epochs
        for counts in (loops["epoch_loop.batch_progress"][kind] for kind in ("total", "current")):
            counts["completed"] = counts["processed"]
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
        self._delays_validation = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._delays_validation:
            self._val_check_batch, trainer.val_check_batch = trainer.val_check_batch, sys.maxsize

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._delays_validation:
            trainer.val_check_batch, self._delays_validation = self._val_check_batch, False


def has_loop_counters(loops: Any) -> bool:
    """Return whether the entry `loops` of a checkpoint has the counters that Lightning resumes from."""
    fit_loop = loops.get("fit_loop") if isinstance(loops, dict) else None
    return isinstance(fit_loop, dict) and fit_loop.keys() >= LOOP_KEYS
