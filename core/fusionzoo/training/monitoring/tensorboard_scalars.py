"""The scalars of the training steps in TensorBoard."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from fusionzoo.training.gradient_norms import compute_norms
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputInterval


class TensorBoardScalars(Callback):
    """Logs the loss, the learning rates, the gradient norm before clipping, and the throughput.

    Writes every `log_every_n_steps` steps, without `LightningModule.log`, which is too slow for every step. Tags:
    `train_loss`, `lr/<group>`, `gradient_norm`, `throughput/rows_per_second`, `throughput/tokens_per_second` and
    `throughput/padding`. Loss and throughput are those of the first process since the previous point.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._interval = ThroughputInterval(throughput)
        self._learning_rates: dict[str, float] = {}
        self._gradient_norm: Tensor | None = None  # None if this step is not logged

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        step = trainer.global_step + 1
        if step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._learning_rates = {f"lr/{group['part']}": float(group["lr"]) for group in optimizer.param_groups}
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            self._gradient_norm = torch.linalg.vector_norm(compute_norms(gradients))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._gradient_norm is None or trainer.logger is None:
            return
        reading = self._interval.read()
        scalars = {
            **self._learning_rates,
            "gradient_norm": self._gradient_norm.item(),
            "train_loss": reading.mean_loss,
            "throughput/rows_per_second": reading.rows_per_second,
            "throughput/tokens_per_second": reading.tokens_per_second or None,
            "throughput/padding": reading.padding,
        }
        known = {tag: value for tag, value in scalars.items() if value is not None}
        trainer.logger.log_metrics(known, step=trainer.global_step)
        self._gradient_norm = None
