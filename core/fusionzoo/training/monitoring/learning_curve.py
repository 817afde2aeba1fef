"""Record the losses and the early-stopping metric of each validation; a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo.evaluation.metric_directions import LOSS_METRIC


class LearningCurve(Callback):
    """Records `epoch` (from 1), `step`, `train_loss`, `val_loss` and the early-stopping metric of each validation.

    `train_loss` is the mean loss of the batches since the validation before, in this process, also if the training was
    interrupted in between.
    """

    def __init__(self, metric: str) -> None:
        self._metric = metric
        self.validations: list[dict[str, int | float]] = []
        self._loss, self._batches = torch.zeros(()), 0  # since the last validation

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._loss = self._loss.to(pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._loss += outputs["loss"] * trainer.accumulate_grad_batches  # Lightning divides the loss by it
        self._batches += 1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metrics = {name: float(trainer.callback_metrics[name]) for name in (LOSS_METRIC, self._metric)}
        position = {"epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        self.validations.append({**position, "train_loss": self._loss.item() / max(1, self._batches), **metrics})
        self._loss, self._batches = torch.zeros_like(self._loss), 0

    def state_dict(self) -> dict[str, Any]:
        return {"validations": self.validations, "loss": self._loss.item(), "batches": self._batches}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.validations = [dict(validation) for validation in state_dict["validations"]]
        self._loss, self._batches = torch.tensor(state_dict["loss"]), state_dict["batches"]
