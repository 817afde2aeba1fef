"""A progress bar for a user who watches the training on a terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fusionzoo.training.lightning_compat import batches_done, total_batches
from fusionzoo.training.monitoring.log_lines import ProgressReporter, format_throughput
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading

SECONDS_BETWEEN_UPDATES = 1.0


def can_show_progress_bar() -> bool:
    """Return whether stdout is a terminal that can draw a bar. A log file must not contain carriage returns."""
    if sys.stdout is None:  # the process was started without it
        return False
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


class ProgressBar(ProgressReporter):
    """One bar for all epochs, in the first process. Log lines appear above it."""

    def __init__(self, throughput: Throughput) -> None:
        super().__init__(throughput, SECONDS_BETWEEN_UPDATES)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.percentage:>3.0f}% {task.fields[status]}"),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, status="", visible=False)

    @contextmanager
    def show(self) -> Iterator[None]:
        """Show the bar during the block, and remove it afterwards."""
        terminal = sys.stdout
        with self._progress, ExitStack() as stack:
            for handler in logging.getLogger("fusionzoo").handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is terminal:
                    handler.setStream(sys.stdout)  # rich replaced it by a stream that prints above the bar
                    stack.callback(handler.setStream, terminal)
            yield

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._progress.update(self._task, total=total_batches(trainer), visible=trainer.is_global_zero)
        self._update(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        self._update(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._progress.update(self._task, description="validating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._update(trainer)

    def report(self, trainer: Trainer, reading: ThroughputReading, seconds_left: float | None) -> None:
        parts = format_throughput(reading, trainer.world_size, seconds_left, short=True)
        self._progress.update(self._task, status="  ".join(parts))

    def _update(self, trainer: Trainer) -> None:
        epoch = min(trainer.current_epoch + 1, trainer.max_epochs or 0)
        description = f"epoch {epoch}/{trainer.max_epochs}"
        self._progress.update(self._task, description=description, completed=batches_done(trainer))
