"""What the user sees while a model trains: a bar on a terminal, plain lines anywhere else."""

from __future__ import annotations

import logging
import time
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, RichProgressBar

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
FIGURES = "train/"  # what an architecture tells of itself: `ModelOutput.penalties` and `figures`


class LogLines(Callback):
    """A line per interval while training, and `#metric name=value;` after each validation, for tuning jobs.

    At the end of an epoch, a line with what the architecture tells of itself, averaged over the epoch.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._since = 0.0

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows, self._since = 0, time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._rows += batch.rows
        elapsed = time.monotonic() - self._since
        if elapsed >= SECONDS_BETWEEN_LINES:
            loss = torch.as_tensor(outputs["loss"]).item()
            log.info(
                "Epoch %d of %s, step %d of %d: train_loss %.4f, %.0f rows per second",
                trainer.current_epoch + 1,
                trainer.max_epochs,
                batch_idx + 1,
                trainer.num_training_batches,
                loss,
                self._rows / elapsed,
            )
            self._rows, self._since = 0, time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {
            n.removeprefix(FIGURES): float(v) for n, v in trainer.callback_metrics.items() if n.startswith(FIGURES)
        }
        if figures:
            shown = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
            log.info("Epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, shown)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        names = sorted(name for name in trainer.callback_metrics if name.startswith("val"))
        figures = {name.replace("/", "_"): float(trainer.callback_metrics[name]) for name in names}
        log.info(" ".join(f"#metric {name}={value:.6f};" for name, value in figures.items()))


def callbacks(terminal: bool) -> list[Callback]:
    """The lines, and a bar where somebody is watching."""
    return [LogLines(), RichProgressBar()] if terminal else [LogLines()]
