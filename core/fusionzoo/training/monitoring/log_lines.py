"""Log lines about a training: plain text for log files, and `#metric` lines that tuning jobs parse."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, EarlyStopping
from torch import nn

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.metric_text import format_metric, format_metric_line
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.task import Task
from fusionzoo.training.lightning_compat import batches_done, total_batches
from fusionzoo.training.monitoring.learning_curve import LearningCurve
from fusionzoo.training.monitoring.resource_usage import format_duration
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputInterval, ThroughputReading
from fusionzoo.training.resolved_settings import ResolvedJobSettings

log = logging.getLogger(__name__)

SECONDS_BETWEEN_LINES = 15.0
TRAIN_METRIC_PREFIX = "train/"  # of `ModelOutput.penalties` and `ModelOutput.metrics`


class ProgressReporter(Callback):
    """Reports throughput and remaining time at a fixed interval; subclasses define `report`.

    The remaining time assumes the mean pace of this run, including validations, and that no epoch is skipped.
    """

    def __init__(self, throughput: Throughput, seconds_between_reports: float) -> None:
        self._interval, self._seconds_between_reports = ThroughputInterval(throughput), seconds_between_reports
        self._started = self._reported = 0.0
        self._batches_before_start = 0

    def report(self, trainer: Trainer, reading: ThroughputReading, seconds_left: float | None) -> None:
        """Show what was trained since the last report; `seconds_left` is None before the first batch."""
        raise NotImplementedError

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = self._reported = time.monotonic()
        self._batches_before_start = batches_done(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if time.monotonic() - self._reported < self._seconds_between_reports:
            return
        reading, done = self._interval.read(), batches_done(trainer)
        batches = done - self._batches_before_start
        left = (total_batches(trainer) - done) * (time.monotonic() - self._started) / batches if batches > 0 else None
        self.report(trainer, reading, left)
        self._reported = time.monotonic()


class IntervalLogger(ProgressReporter):
    """Logs a line about every 15 s: position, loss, speed, and remaining time."""

    def __init__(self, throughput: Throughput) -> None:
        super().__init__(throughput, SECONDS_BETWEEN_LINES)

    def report(self, trainer: Trainer, reading: ThroughputReading, seconds_left: float | None) -> None:
        batch = batches_done(trainer) - trainer.current_epoch * int(trainer.num_training_batches)
        log.info(
            "Epoch %d of %s, batch %d of %d, step %d: %s",
            *(trainer.current_epoch + 1, trainer.max_epochs),
            *(batch, trainer.num_training_batches, trainer.global_step),
            ", ".join(format_throughput(reading, trainer.world_size, seconds_left)),
        )


class ValidationLogger(Callback):
    """Logs the metrics of each validation, and at the end of an epoch the mean metrics of the architecture."""

    def __init__(self, learning_curve: LearningCurve) -> None:
        self._learning_curve = learning_curve  # it comes before this callback

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {name: float(v) for name, v in trainer.callback_metrics.items() if name.startswith("val")}
        log_metrics({"train_loss": self._learning_curve.validations[-1]["train_loss"]})
        log_metrics(metrics)
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, EarlyStopping):
                log.info(
                    "Epoch %d of %s, step %d: %s",
                    *(trainer.current_epoch + 1, trainer.max_epochs, trainer.global_step),
                    format_verdict(callback, metrics[callback.monitor]),
                )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = [
            f"{name.removeprefix(TRAIN_METRIC_PREFIX)} {format_metric(float(value))}"
            for name, value in trainer.callback_metrics.items()
            if name.startswith(TRAIN_METRIC_PREFIX)
        ]
        if metrics:
            log.info("Epoch %d of %s: %s", trainer.current_epoch + 1, trainer.max_epochs, ", ".join(metrics))


def log_model_size(settings: JobSettings, model: nn.Module) -> None:
    """Log the number of parameters of the model."""
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    parameters = sum(p.numel() for p in model.parameters())
    log.info("Model %s: %s parameters, %s trainable", settings.model_class, f"{parameters:,}", f"{trainable:,}")


def log_training_start(
    job: ResolvedJobSettings,
    train: EncodedSplit,
    task: Task,
    batches: int,
    precision: str,
    processes: int,
) -> None:
    """Log the distribution of the labels, the device, the number of batches, and how the training validates."""
    if train.labels is not None:
        log.info("%s: %s", pluralize(len(train), "training row"), task.describe_labels(train.labels))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    log.info(
        "Training on %s, %s, precision %s: up to %s of %s",
        *(pluralize(processes, "process", "processes"), device, precision),
        *(pluralize(job.max_epochs, "epoch"), pluralize(batches, "batch", "batches")),
    )
    times = max(1, batches // job.count_batches_between_validations(batches))
    log.info(
        "Validating %s per epoch; %s selects the best weights%s",
        *("once" if times == 1 else f"{times} times", job.early_stop_metric),
        f", and the best {job.average_checkpoints} may be averaged" if job.average_checkpoints > 1 else "",
    )


def format_throughput(
    reading: ThroughputReading, processes: int, seconds_left: float | None, short: bool = False
) -> list[str]:
    """Return loss, speed, padding, and remaining time as texts. The speed assumes equally fast processes."""
    parts = [f"train_loss {format_metric(reading.mean_loss)}"] if reading.mean_loss is not None else []
    parts.append(f"{reading.rows_per_second * processes:,.0f} rows/s")
    if reading.encoded and not short:
        parts.append(f"{reading.tokens_per_second * processes:,.0f} tokens/s")
    if reading.padding is not None:
        parts.append(f"padding {reading.padding:.1%}")
    if seconds_left is not None:
        parts.append(f"{format_duration(seconds_left)} left")
    return parts


def format_best(best: Mapping[str, Any]) -> str:
    """Return a text about the best validation; `best` is the result of `best_checkpoints.describe_best`."""
    return f"{best['metric']} {format_metric(best['value'])} in epoch {best['epoch']}, step {best['step']}"


def format_verdict(stopping: EarlyStopping, value: float) -> str:
    """Return a text that says whether a validation is the best so far, after `stopping` has seen it."""
    metric = f"{stopping.monitor} {format_metric(value)}"
    if stopping.wait_count == 0:
        return f"{metric}, the best so far"
    patience = f"{stopping.wait_count} of {pluralize(stopping.patience, 'validation')} without improvement"
    end = "; stopping early" if stopping.wait_count >= stopping.patience else ""
    return f"{metric}, best {format_metric(float(stopping.best_score))}; {patience}{end}"


def log_metrics(metrics: Mapping[str, float]) -> None:
    """Log a line `#metric name=value;` per metric, see `format_metric_line`."""
    for name in sorted(metrics):
        log.info("%s", format_metric_line(name, metrics[name]))
