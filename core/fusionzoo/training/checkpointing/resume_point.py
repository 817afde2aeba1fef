"""A job that was killed goes on from its last checkpoint as if nothing had happened."""

from __future__ import annotations

import logging
import pickle
import random
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint, EarlyStopping

from fusionzoo import errors
from fusionzoo.settings import JobSettings
from fusionzoo.training.checkpointing import fingerprint
from fusionzoo.training.checkpointing.best_checkpoints import (
    LAST,
    PREVIOUS,
    best_weight_files,
    check_intact,
    delete_superseded,
)
from fusionzoo.training.distributed import collectives
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

CHECKPOINT_KEY = "fusionzoo"  # of what this module keeps in a checkpoint


@dataclass(frozen=True)
class ResumePoint:
    """A whole checkpoint that an earlier run left, and whose it is."""

    file: Path
    job: Mapping[str, str]  # as `identity` tells it
    processes: int
    epoch: int  # both count from 0
    step: int
    finished: Mapping[str, Any] | None  # how the training went, where it came to its end


def find_resume_point(folder: Path) -> ResumePoint | None:
    """The newest whole checkpoint to go on from; warns of one that is damaged or has gone.

    Raises:
        errors.ForeignCheckpointError: another program wrote it.
    """
    last, previous = folder / LAST, folder / PREVIOUS
    for file in (last, previous):
        if not file.exists():
            continue
        try:
            found = _read(file)
        except (OSError, RuntimeError, ValueError, pickle.UnpicklingError, zipfile.BadZipFile) as cause:
            log.warning(errors.checkpoint_damaged(file, cause))
            continue
        if file is previous:
            log.warning(errors.checkpoint_before_last(previous, last, found.epoch + 1, found.step))
        return found
    if last.exists() or previous.exists():
        log.warning(errors.no_whole_checkpoint(folder))
    return None


def _read(file: Path) -> ResumePoint:
    """A checkpoint, if it is whole, and so are those of best weights that it speaks of."""
    check_intact(file)
    content = torch.load(str(file), map_location="cpu", weights_only=True, mmap=True)
    if CHECKPOINT_KEY not in content:
        raise errors.ForeignCheckpointError(file)
    for name in best_weight_files(content["callbacks"].values()):
        check_intact(file.with_name(name))
    own = content[CHECKPOINT_KEY]
    return ResumePoint(file, own["job"], len(own["random"]), content["epoch"], content["global_step"], own["finished"])


def check_same_fingerprint(earlier: ResumePoint | None, job: Mapping[str, str]) -> None:
    """Refuse to go on from the checkpoint of a job that is another in any of this.

    Raises:
        errors.AnotherJobError: names what differs.
    """
    if earlier is not None and (differing := fingerprint.fingerprint_differences(earlier.job, job)):
        raise errors.AnotherJobError(earlier.file, differing)


class LastCheckpoint(Checkpoint):
    """Keeps the state of the training: by steps and by minutes, after each validation, at SIGTERM, and at its end.

    Between the batches that one step joins, nothing is saved, since gradients are not. Where validation is due, the
    state after it is saved; and after an epoch's last batch, that at the end of the epoch, since Lightning loses count
    when it goes on from between the two.

    Args:
        job: what `check` will compare; nothing by default.
        termination: by default, no signal is listened to.
    """

    def __init__(
        self,
        folder: Path,
        settings: JobSettings,
        job: Mapping[str, str] | None = None,
        termination: Termination | None = None,
    ) -> None:
        self._folder, self._settings, self._job = folder, settings, job or {}
        self.termination = termination or Termination()
        self._finished: dict[str, Any] | None = None
        self._saved_at, self._saved_step, self._validated = 0.0, 0, False

    def local_requests(self) -> tuple[bool, bool]:
        """Whether this process wants to stop, and whether it wants to save since time has gone by."""
        minutes = self._settings.checkpoint_every_n_minutes
        late = minutes is not None and time.monotonic() - self._saved_at >= 60 * minutes
        return self.termination.stop_requested, late

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        self.termination.reinstall_handlers()
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping) and callback.wait_count >= callback.patience:
                trainer.should_stop = True  # it had decided so before the job was killed

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        validates = (batch_idx + 1) % int(trainer.val_check_batch) == 0  # type: ignore[arg-type]
        if validates or is_mid_accumulation(trainer) or trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        self._save_if_due(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        if self._saved_step != trainer.global_step:  # no validation was due after the last batch
            self._save_if_due(trainer, pl_module)

    def _save_if_due(self, trainer: Trainer, pl_module: Any) -> None:
        stop, late = pl_module.synced_requests()
        steps = self._settings.checkpoint_every_n_steps
        due = late or self._validated or (steps is not None and trainer.global_step - self._saved_step >= steps)
        self._save_and_stop(trainer, due, stop)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated = True
        if not is_mid_accumulation(trainer):
            self._save_and_stop(trainer, True, collectives.any_process(self.termination.stop_requested))

    def _save_and_stop(self, trainer: Trainer, due: bool, stop: bool) -> None:
        if due or stop:
            self._save(trainer)
        if stop:
            raise errors.TerminatedError(self._folder / LAST, trainer.current_epoch + 1, trainer.global_step)

    def finish(self, trainer: Trainer, summary: Mapping[str, Any]) -> None:
        """Save that the training has come to its end, and how it went; the checkpoint before is not needed any more."""
        self._finished = dict(summary)
        self._save(trainer)
        if trainer.is_global_zero:
            (self._folder / PREVIOUS).unlink(missing_ok=True)

    def _save(self, trainer: Trainer) -> None:
        trainer.save_checkpoint(self._folder / LAST)
        delete_superseded(trainer)
        self._saved_at, self._saved_step, self._validated = time.monotonic(), trainer.global_step, False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        states = collectives.all_gather(get_random_state())
        checkpoint[CHECKPOINT_KEY] = {"job": dict(self._job), "random": states, "finished": self._finished}


def is_mid_accumulation(trainer: Trainer) -> bool:
    """Whether a step has begun that joins further batches of the epoch."""
    done = trainer.fit_loop.epoch_loop.batch_progress
    return done.current.ready % trainer.accumulate_grad_batches != 0 and not done.is_last_batch


class RestoreRandomState(Callback):
    """Puts the random numbers of every rank back to where the checkpoint has them, before anything draws from them."""

    def __init__(self) -> None:
        self._saved: dict[str, Any] | None = None

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        states = checkpoint[CHECKPOINT_KEY]["random"]
        if len(states) == trainer.world_size:
            self._saved = states[trainer.global_rank]
        else:
            log.warning(errors.other_processes(len(states), trainer.world_size))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._put_back()

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._put_back()

    def _put_back(self) -> None:
        if self._saved is not None:
            set_random_state(self._saved)
            self._saved = None


def seed_everything(seed: int) -> None:
    """Start all generators of this process that a training draws from."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)  # of GPUs, too


def get_random_state() -> dict[str, Any]:
    """Where the random number generators of this process stand, in tensors and plain values."""
    name, keys, *rest = np.random.get_state()
    version, numbers, gauss = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
        "numpy": [str(name), torch.from_numpy(np.asarray(keys, np.int64)), *(float(value) for value in rest)],
        "python": [version, torch.tensor(numbers, dtype=torch.int64), gauss],
    }


def set_random_state(states: Mapping[str, Any]) -> None:
    """Put the generators back where `random_states` found them."""
    torch.set_rng_state(states["torch"].cpu())
    if states["cuda"] is not None:
        torch.cuda.set_rng_state(states["cuda"].cpu())
    name, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    version, numbers, gauss = states["python"]
    random.setstate((version, tuple(numbers.tolist()), gauss))
