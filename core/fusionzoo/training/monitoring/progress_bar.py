"""A progress bar for somebody who watches a training on a terminal."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from fusionzoo.training.lightning_compat import batches_done, total_batches
from fusionzoo.training.monitoring.log_lines import RemainingTime, format_throughput
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading

SECONDS_BETWEEN_FIGURES = 1.0


def can_show_progress_bar() -> bool:
    """Whether stdout is a terminal that can draw a bar; a log must get no carriage returns."""
    return sys.stdout.isatty() and not Console(file=sys.stdout).is_dumb_terminal


class ProgressBar(Callback):
    """One bar for all epochs, in the first process; log lines appear above it while `shown`."""

    def __init__(self, throughput: Throughput) -> None:
        self._throughput, self._pace = throughput, RemainingTime()
        self._before, self._since, self._figures = ThroughputReading(), 0.0, ""
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.percentage:>3.0f}% {task.fields[metrics]}"),
            transient=True,
        )
        self._task = self._progress.add_task("", total=None, metrics="", visible=False)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """The bar is on the terminal, and goes away with the block."""
        plain = sys.stdout
        with self._progress, lines_above(plain):
            yield

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace.start(trainer)
        self._progress.update(self._task, total=total_batches(trainer), visible=trainer.is_global_zero)
        self._show(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._since >= SECONDS_BETWEEN_FIGURES:
            reading = self._throughput.read()
            left = self._pace.seconds_left(trainer, batches_done(trainer))
            self._figures = "  ".join(format_throughput(reading - self._before, trainer.world_size, left, short=True))
            self._before, self._since = reading, time.monotonic()
        self._show(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._progress.update(self._task, metrics="validating")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._show(trainer)

    def _show(self, trainer: Trainer) -> None:
        epoch = min(trainer.current_epoch + 1, trainer.max_epochs or 0)
        self._progress.update(
            self._task,
            description=f"epoch {epoch}/{trainer.max_epochs}",
            completed=batches_done(trainer),
            metrics=self._figures,
        )


@contextmanager
def lines_above(plain: TextIO) -> Iterator[None]:
    """Log lines that go to the terminal go through what rich has put in its place, so that a bar stays below them."""
    handlers = [h for h in logging.getLogger("fusionzoo").handlers if isinstance(h, logging.StreamHandler)]
    moved = [handler for handler in handlers if handler.stream is plain]
    for handler in moved:
        handler.setStream(sys.stdout)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(plain)
