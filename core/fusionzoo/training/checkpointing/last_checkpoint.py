"""The callback that saves the whole state of a training, so that a stopped job can resume bit-identically."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from fusionzoo import errors
from fusionzoo.settings import JobSettings
from fusionzoo.training import lightning_compat
from fusionzoo.training.checkpointing.best_checkpoints import delete_unused_weights, has_best
from fusionzoo.training.checkpointing.checkpoint_io import LAST_FILE, PREVIOUS_FILE, STATE_KEY, TOP_FILES
from fusionzoo.training.checkpointing.early_end import EndedEarlyError, EndReason
from fusionzoo.training.checkpointing.random_state import get_random_state
from fusionzoo.training.checkpointing.time_limit import TimeLimit
from fusionzoo.training.distributed import collectives
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

STEPS_BETWEEN_SYNCS = 8  # on GPUs


class Requests(NamedTuple):
    """What is requested at the end of a step.

    Attributes:
        stop: to stop the job.
        ship: to stop the training, and to make a model of the best weights so far, because of SIGTERM.
        end: the same, because the time is over.
        validate: to end with one more validation.
        save: to save, because enough time has passed.
    """

    stop: bool = False
    ship: bool = False
    end: bool = False
    validate: bool = False
    save: bool = False


class LastCheckpoint(Checkpoint):
    """Save the training state by steps, by minutes, after each validation, on SIGTERM, and when training has finished.

    Nothing is saved in the middle of gradient accumulation, because a checkpoint does not hold gradients. At a batch
    that a validation follows, the state after the validation is saved. At the last batch of an epoch, the state at the
    end of the epoch is saved, because Lightning miscounts when it resumes from between the two.

    Args:
        termination: where requests to stop arrive; by default, no signal is handled.
        stored: entries of each checkpoint that do not change, such as the precision, which a resumed job keeps.
        time_limit: when the training has to end; by default never. The first process decides for all.
    """

    def __init__(
        self,
        folder: Path,
        settings: JobSettings,
        termination: Termination | None = None,
        stored: Mapping[str, Any] | None = None,
        time_limit: TimeLimit | None = None,
    ) -> None:
        self._file, self._settings = folder / LAST_FILE, settings
        self.time_limit, self._validates_and_ends = time_limit or TimeLimit(None), False
        self.termination, self._stored = termination or Termination(), dict(stored or {})
        self._training_summary: dict[str, Any] | None = None
        self._saved_at, self._saved_step, self._has_validated = 0.0, 0, False
        self._used_before: set[str] = set()  # the weights to which the checkpoint before the last one refers

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        # After a resume, the checkpoint before the last one may refer to any of them.
        self._used_before = {file.name for file in self._file.parent.glob(TOP_FILES)}
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
            self._save_if_due(trainer, is_epoch_end=True)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._has_validated = True
        if not lightning_compat.is_mid_accumulation(trainer):
            local = self.local_requests(trainer)
            requests = Requests(*(any(values) for values in zip(*collectives.all_gather(local), strict=True)))
            is_finished = lightning_compat.is_last_step(trainer) or trainer.should_stop  # by early stopping
            ends = self._validates_and_ends or (requests.end and not is_finished)
            ships = requests.ship and not (is_finished and not self._validates_and_ends)
            self._save_and_stop(trainer, requests._replace(ship=ships, end=ends, validate=False, save=True))

    def local_requests(self, trainer: Trainer) -> Requests:
        """Return the requests of this process."""
        minutes = self._settings.checkpoint_every_n_minutes
        is_late = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        ships = self.termination.leaves_time and self._settings.ship_on_stop and has_best(trainer)
        ends = trainer.is_global_zero and self.time_limit.is_over(trainer)
        return Requests(
            stop=self.termination.stop_requested and not ships,
            ship=ships,
            end=ends,
            validate=ends and not (has_best(trainer) and not self.time_limit.has_time_to_validate()),
            save=is_late,
        )

    def synced_requests(self, trainer: Trainer) -> Requests:
        """Return the requests of any process, the same in all of them; call it in every process at the end of a step.

        Reading the sum makes Python wait for the GPU, which otherwise runs ahead. Therefore GPUs exchange their
        requests only in every eighth step.
        """
        if trainer.world_size == 1:
            return self.local_requests(trainer)
        device = trainer.strategy.root_device
        if device.type != "cpu" and trainer.global_step % STEPS_BETWEEN_SYNCS:
            return Requests()
        counts = torch.tensor(self.local_requests(trainer), dtype=torch.float32, device=device)
        counts = torch.as_tensor(trainer.strategy.reduce(counts, reduce_op="sum"))
        return Requests(*(count > 0 for count in counts.tolist()))

    def _save_if_due(self, trainer: Trainer, is_epoch_end: bool = False) -> None:
        requests = self.synced_requests(trainer)
        if is_epoch_end:  # too late for a validation; each epoch has had one
            is_finished = trainer.current_epoch + 1 >= (trainer.max_epochs or 0)
            requests = requests._replace(end=requests.end and not is_finished, validate=False)
        steps = self._settings.checkpoint_every_n_steps
        enough_steps = steps is not None and trainer.global_step - self._saved_step >= steps
        self._save_and_stop(trainer, requests._replace(save=requests.save or self._has_validated or enough_steps))

    def _save_and_stop(self, trainer: Trainer, requests: Requests) -> None:
        validates = requests.validate and not (requests.stop or requests.ship)
        if any(requests) and not validates:
            self._save(trainer)
        if requests.stop:
            raise errors.TerminatedError(self._file, trainer.current_epoch + 1, trainer.global_step)
        if requests.ship:
            self._end(trainer, "sigterm")
        if validates:
            self._validates_and_ends = trainer.should_stop = True  # Lightning validates before it stops
        elif requests.end:
            self._end(trainer, "max_minutes")

    def _end(self, trainer: Trainer, reason: EndReason) -> NoReturn:
        raise EndedEarlyError(reason, trainer.current_epoch + 1, trainer.global_step)

    def save_finished(self, trainer: Trainer, training_summary: Mapping[str, Any]) -> None:
        """Save that the training has finished, with its summary; the checkpoint before this one is deleted."""
        self._training_summary = dict(training_summary)
        self._save(trainer)
        if trainer.is_global_zero:
            self._file.with_name(PREVIOUS_FILE).unlink(missing_ok=True)
        delete_unused_weights(trainer, self._file.parent, ())

    def _save(self, trainer: Trainer) -> None:
        started = time.monotonic()
        trainer.save_checkpoint(self._file)
        self._used_before = delete_unused_weights(trainer, self._file.parent, self._used_before)
        self.time_limit.save_seconds = max(self.time_limit.save_seconds, time.monotonic() - started)
        self._saved_at, self._saved_step, self._has_validated = time.monotonic(), trainer.global_step, False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint[STATE_KEY] = {
            "random_states": collectives.all_gather(get_random_state()),
            "training_summary": self._training_summary,
            "max_epochs": trainer.max_epochs,
            **self._stored,
        }
