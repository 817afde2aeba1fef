"""The only LightningModule: loss, penalties, optimiser and validation figures of every architecture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F

from fusionzoo import errors
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.nn.scoring import logits_of
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers, progress
from fusionzoo.training.metrics import SplitScores


class Classifier(LightningModule):
    """Trains any module that turns a `Batch` into logits [rows, classes] or a `ModelOutput`."""

    class_weights: Tensor

    def __init__(
        self, model: nn.Module, settings: JobSettings, groups: Sequence[dict[str, Any]], num_classes: int, steps: int
    ) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self._groups, self._steps = groups, steps
        weights = settings.class_weights or [1.0] * num_classes
        self.register_buffer("class_weights", torch.tensor(weights, dtype=torch.float32), persistent=False)
        self.scores = SplitScores()

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        output: Tensor | ModelOutput = self.model(batch)
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        output = self(batch)
        loss = F.cross_entropy(logits_of(output).float(), _labels(batch), weight=self.class_weights)
        if isinstance(output, ModelOutput):
            loss = loss + sum(output.penalties.values())
            self._log_figures({f"penalty_{name}": penalty for name, penalty in output.penalties.items()}, batch.rows)
            self._log_figures(output.figures, batch.rows)
        self.log("train_loss", loss, batch_size=batch.rows)
        return loss

    def _log_figures(self, figures: Mapping[str, Tensor], rows: int) -> None:
        """Log means over the epoch of what an architecture tells of itself."""
        named = {f"{progress.FIGURES}{name}": figure.float() for name, figure in figures.items()}
        self.log_dict(named, batch_size=rows, on_step=False, on_epoch=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.scores.update(logits_of(self(batch)), _labels(batch), self.class_weights)

    def on_validation_epoch_end(self) -> None:
        if not all(bool(torch.isfinite(p).all()) for p in self.scores.probabilities):
            raise errors.TrainingDivergedError(self.global_step, [g["lr"] for g in self._groups])
        figures = self.scores.compute()
        self.scores.reset()
        if not math.isfinite(figures["val_loss"]):
            raise errors.TrainingDivergedError(self.global_step, [g["lr"] for g in self._groups])
        self.log_dict(figures)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optimizers.build(self._groups, self.settings)
        schedule = optimizers.scheduler(optimizer, self.settings, self._steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _labels(batch: Batch) -> Tensor:
    if batch.labels is None:
        raise ValueError("a batch without labels cannot be trained on")
    return batch.labels
