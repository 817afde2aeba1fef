"""What a log says while a model trains: plain lines that are read at night, and by tuning jobs."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import Label
from fusionzoo.settings import JobSettings
from fusionzoo.training.lightning_compat import batches_done, total_batches
from fusionzoo.training.monitoring.resource_usage import format_duration
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
SHOWN_CLASSES = 20
TRAIN_METRIC_PREFIX = "train/"  # what an architecture tells of itself: `ModelOutput.penalties` and `figures`


class RemainingTime:
    """How long a training will still take at the mean pace of this run, validations included."""

    def __init__(self) -> None:
        self._began, self._before = 0.0, 0

    def start(self, trainer: Trainer) -> None:
        self._began, self._before = time.monotonic(), batches_done(trainer)

    def seconds_left(self, trainer: Trainer, done: int) -> float | None:
        """Until the last epoch has gone by, when so many batches are done; None before the run's first batch."""
        new = done - self._before
        left = total_batches(trainer) - done
        return left * (time.monotonic() - self._began) / new if new > 0 else None


def format_throughput(
    done: ThroughputReading, processes: int, seconds_left: float | None, short: bool = False
) -> list[str]:
    """Loss, speed, padding and time left; the speed of several processes as if all of them were as fast as this one."""
    shown = [f"train_loss {done.mean_loss:.4f}"] if done.mean_loss is not None else []
    shown.append(f"{done.rows_per_second * processes:,.0f} rows/s")
    if done.encoded and not short:
        shown.append(f"{done.tokens_per_second * processes:,.0f} tokens/s")
    if done.padding is not None:
        shown.append(f"padding {done.padding:.1%}")
    if seconds_left is not None:
        shown.append(f"{format_duration(seconds_left)} left")
    return shown


class IntervalLogger(Callback):
    """A line every 15 s: where the training stands, how fast it is, and what is left."""

    def __init__(self, throughput: Throughput) -> None:
        self._throughput, self._pace, self._before, self._since = throughput, RemainingTime(), ThroughputReading(), 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._pace.start(trainer)
        self._since = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._since < SECONDS_BETWEEN_LINES:
            return
        reading = self._throughput.read()
        left = self._pace.seconds_left(trainer, batches_done(trainer))
        shown = format_throughput(reading - self._before, trainer.world_size, left)
        log.info(
            "Epoch %d of %s, batch %d of %d, step %d: %s",
            *(trainer.current_epoch + 1, trainer.max_epochs, batch_idx + 1, trainer.num_training_batches),
            *(trainer.global_step, ", ".join(shown)),
        )
        self._before, self._since = reading, time.monotonic()


class ValidationLogger(Callback):
    """After each validation, its figures for tuning jobs, and whether they are the best.

    At the end of an epoch, a line with what the architecture tells of itself, averaged over the epoch.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._throughput, self._before = throughput, ThroughputReading()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        reading = self._throughput.read()
        loss, self._before = (reading - self._before).mean_loss, reading
        metrics = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val")}
        log_metrics({} if loss is None else {"train_loss": loss})
        log_metrics(metrics)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping):
                log.info(
                    "Epoch %d of %s, step %d: %s",
                    *(trainer.current_epoch + 1, trainer.max_epochs, trainer.global_step),
                    format_verdict(callback, metrics[callback.monitor]),
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {
            n.removeprefix(TRAIN_METRIC_PREFIX): float(v)
            for n, v in trainer.callback_metrics.items()
            if n.startswith(TRAIN_METRIC_PREFIX)
        }
        if metrics:
            shown = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            log.info("Epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, shown)


def log_training_start(
    settings: JobSettings,
    model: nn.Module,
    train: EncodedSplit,
    classes: Sequence[Label],
    batches: int,
    precision: str,
    processes: int,
) -> None:
    """Log what is about to be trained: the model's size, the classes' shares, and how many steps of what kind."""
    counts = [(p.numel(), p.requires_grad) for p in model.parameters()]
    log.info(
        "Model %s: %s parameters, of which %s learn",
        *(settings.model_class, f"{sum(n for n, _ in counts):,}", f"{sum(n for n, learns in counts if learns):,}"),
    )
    if train.labels is not None:
        rows = np.bincount(train.labels, minlength=len(classes))
        named = [f"{label}: {count / len(train):.1%}" for label, count in zip(classes, rows, strict=True)]
        more = f" and {len(named) - SHOWN_CLASSES} more classes" if len(named) > SHOWN_CLASSES else ""
        log.info("%d training rows: %s%s", len(train), ", ".join(named[:SHOWN_CLASSES]), more)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    log.info(
        "Training on %s, %s, precision %s: up to %d epochs of %d batches",
        *(f"{processes} process{'es' if processes > 1 else ''}", device, precision, settings.max_epochs, batches),
    )


def format_best(best: Mapping[str, Any]) -> str:
    """Which validation was the best, as `checkpoints.best` tells it."""
    return f"{best['metric']} {best['value']:.4f} in epoch {best['epoch']}, step {best['step']}"


def format_verdict(stopping: EarlyStopping, value: float) -> str:
    """Whether a validation is the best so far, and what patience is left; after early stopping has judged it."""
    found = f"{stopping.monitor} {value:.4f}"
    if stopping.wait_count == 0:
        return f"{found}, the best so far"
    best = float(stopping.best_score)
    without = f"{stopping.wait_count} of {stopping.patience} validations without a better one"
    end = "; the training stops" if stopping.wait_count >= stopping.patience else ""
    return f"{found}, best {best:.4f}; {without}{end}"


def log_metrics(metrics: Mapping[str, float]) -> None:
    """A line `#metric name=value;` for each figure, which a tuning job's regular expression finds; / becomes _."""
    for name in sorted(metrics):
        log.info("#metric %s=%.6f;", name.replace("/", "_"), metrics[name])
