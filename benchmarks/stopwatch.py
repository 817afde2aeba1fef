"""A stopwatch in a training: rows and seconds of its steps. It comes in with the callbacks of the chosen plugin."""

from __future__ import annotations

import time
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fusionzoo.registry import Plugin
from fusionzoo.settings import ModelSettings


class Stopwatch(Callback):
    """Counts training rows, their seconds and their CPU seconds, without the warm-up steps and validation.

    `parameters` and `trainable` are those of the model at the start of the training: with adapters, and frozen or not.
    """

    def __init__(self, warmup_steps: int = 0) -> None:
        self.rows, self.seconds, self.cpu_seconds = 0, 0.0, 0.0
        self.parameters, self.trainable = 0, 0
        self._warmup_steps, self._since, self._cpu_since = warmup_steps, 0.0, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = list(pl_module.parameters())
        self.parameters = sum(weight.numel() for weight in weights)
        self.trainable = sum(weight.numel() for weight in weights if weight.requires_grad)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since, self._cpu_since = time.monotonic(), time.process_time()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now, cpu_now = time.monotonic(), time.process_time()
        if trainer.global_step > self._warmup_steps:
            self.rows += batch.rows
            self.seconds, self.cpu_seconds = (
                self.seconds + now - self._since,
                self.cpu_seconds + cpu_now - self._cpu_since,
            )
        self._since, self._cpu_since = now, cpu_now

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restart the clock: a validation within an epoch is not training."""
        self._since, self._cpu_since = time.monotonic(), time.process_time()

    @property
    def rows_per_second(self) -> float:
        return self.rows / self.seconds


class PluginWithStopwatch(Plugin):
    """A plugin with a stopwatch, or another callback, in addition to its own callbacks."""

    def __init__(self, plugin: Plugin, watch: Callback) -> None:
        vars(self).update(vars(plugin))
        self._watch = watch

    def callbacks(self, settings: ModelSettings) -> list[Callback]:
        return [*super().callbacks(settings), self._watch]
