"""The callback that saves the whole state of a training, so that a stopped job can resume bit-identically."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from fusionzoo import errors
from fusionzoo.settings import JobSettings
from fusionzoo.training import lightning_compat
from fusionzoo.training.checkpointing.best_checkpoints import delete_superseded
from fusionzoo.training.checkpointing.checkpoint_io import LAST_FILE, PREVIOUS_FILE, STATE_KEY
from fusionzoo.training.checkpointing.random_state import get_random_state
from fusionzoo.training.distributed import collectives
from fusionzoo.training.precision import PrecisionChoice
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

STEPS_BETWEEN_SYNCS = 8  # on GPUs


class Requests(NamedTuple):
    """What is requested at the end of a step: to stop the job, and to save because enough time has passed."""

    stop: bool
    save: bool


class LastCheckpoint(Checkpoint):
    """Save the training state by steps, by minutes, after each validation, on SIGTERM, and when training has finished.

    Nothing is saved in the middle of gradient accumulation, because a checkpoint does not hold gradients. At a batch
    that a validation follows, the state after the validation is saved. At the last batch of an epoch, the state at the
    end of the epoch is saved, because Lightning miscounts when it resumes from between the two.

    Args:
        termination: where requests to stop arrive; by default, no signal is handled.
        precision: stored in each checkpoint, so that a resumed job does not choose again.
    """

    def __init__(
        self,
        folder: Path,
        settings: JobSettings,
        termination: Termination | None = None,
        precision: PrecisionChoice | None = None,
    ) -> None:
        self._file, self._settings = folder / LAST_FILE, settings
        self.termination, self._precision = termination or Termination(), precision
        self._training_summary: dict[str, Any] | None = None
        self._saved_at, self._saved_step, self._has_validated = 0.0, 0, False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        self.termination.reinstall_handlers()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True  # early stopping had decided this before the job was killed
                log.info("Early stopping has already ended this training: early_stop_patience is used up.")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        saves_later = lightning_compat.is_validation_due(trainer, batch_idx) or lightning_compat.is_last_batch(trainer)
        if not saves_later and not lightning_compat.is_mid_accumulation(trainer):
            self._save_if_due(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._saved_step != trainer.global_step:  # no validation followed the last batch
            self._save_if_due(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_validated = True
        if not lightning_compat.is_mid_accumulation(trainer):
            self._save_and_stop(trainer, save=True, stop=collectives.any_process(self.termination.stop_requested))

    def local_requests(self) -> Requests:
        """Return the requests of this process."""
        minutes = self._settings.checkpoint_every_n_minutes
        is_late = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return Requests(stop=self.termination.stop_requested, save=is_late)

    def synced_requests(self, trainer: Trainer) -> Requests:
        """Return the requests of any process, the same in all of them; call it in every process at the end of a step.

        Reading the sum makes Python wait for the GPU, which otherwise runs ahead. Therefore GPUs exchange their
        requests only in every eighth step.
        """
        if trainer.world_size == 1:
            return self.local_requests()
        device = trainer.strategy.root_device
        if device.type != "cpu" and trainer.global_step % STEPS_BETWEEN_SYNCS:
            return Requests(stop=False, save=False)
        counts = torch.tensor(self.local_requests(), dtype=torch.float32, device=device)
        counts = torch.as_tensor(trainer.strategy.reduce(counts, reduce_op="sum"))
        return Requests(*(count > 0 for count in counts.tolist()))

    def _save_if_due(self, trainer: Trainer) -> None:
        stop, is_late = self.synced_requests(trainer)
        steps = self._settings.checkpoint_every_n_steps
        enough_steps = steps is not None and trainer.global_step - self._saved_step >= steps
        self._save_and_stop(trainer, save=is_late or self._has_validated or enough_steps, stop=stop)

    def _save_and_stop(self, trainer: Trainer, save: bool, stop: bool) -> None:
        if save or stop:
            self._save(trainer)
        if stop:
            raise errors.TerminatedError(self._file, trainer.current_epoch + 1, trainer.global_step)

    def save_finished(self, trainer: Trainer, training_summary: Mapping[str, Any]) -> None:
        """Save that the training has finished, with its summary; the checkpoint before this one is deleted."""
        self._training_summary = dict(training_summary)
        self._save(trainer)
        if trainer.is_global_zero:
            self._file.with_name(PREVIOUS_FILE).unlink(missing_ok=True)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._file)
        delete_superseded(trainer)
        self._saved_at, self._saved_step, self._has_validated = time.monotonic(), trainer.global_step, False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[STATE_KEY] = {
            "random_states": collectives.all_gather(get_random_state()),
            "training_summary": self._training_summary,
            "max_epochs": self._settings.max_epochs,
            "precision": None if self._precision is None else asdict(self._precision),
        }
