"""What Lightning before 2.5 needs so that a training goes on within an epoch, as later ones do by themselves."""

from __future__ import annotations

import sys
from typing import Any

import lightning
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from packaging.version import Version

RESUMES_WITHIN_EPOCH_SINCE = "2.5"


def compat_callbacks(lightning_version: str = lightning.__version__) -> list[Callback]:
    """What to add to a trainer of this Lightning; nothing where it needs no help."""
    return [] if Version(lightning_version) >= Version(RESUMES_WITHIN_EPOCH_SINCE) else [ResumeWithinEpoch()]


class ResumeWithinEpoch(Callback):
    """Has the batch at whose end was saved count as done, and the validation that came before a save not come again.

    At a batch's end Lightning saves counters that lack this batch, and before 2.5 it does not add it when it goes on.
    Nor does it know that a validation due there is over: ours are always saved after it.
    """

    def __init__(self) -> None:
        self._holds_validation = False
        self._validates_every: int | float | None = None  # batches

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        loops = checkpoint["loops"]["fit_loop"]
        epochs = loops["epoch_progress"]["current"]
        if epochs["processed"] == epochs["started"]:
            return  # between two epochs
        for counts in (loops["epoch_loop.batch_progress"][kind] for kind in ("total", "current")):
            counts["completed"] = counts["processed"]
        loops["epoch_loop.state_dict"]["_batches_that_stepped"] += 1
        self._holds_validation = True

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._holds_validation:
            self._validates_every, trainer.val_check_batch = trainer.val_check_batch, sys.maxsize

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._holds_validation:
            trainer.val_check_batch, self._holds_validation = self._validates_every, False
