"""What TensorBoard shows of a training beside its validations."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.optim import Optimizer

from fusionzoo.training.gradient_norms import compute_norms
from fusionzoo.training.monitoring.throughput import Throughput, ThroughputReading


class TensorBoardScalars(Callback):
    """Logs, every `log_every_n_steps`, loss, rates of learning, the gradients' norm before clipping, and throughput.

    Lightning's own logging would cost most of a millisecond in every step. Tags: `train_loss`, `lr/<group>`,
    `gradient_norm`, `throughput/rows_per_second`, `throughput/tokens_per_second` and `throughput/padding`; loss and
    throughput are those of the first process, between two points.
    """

    def __init__(self, throughput: Throughput) -> None:
        self._throughput, self._before = throughput, ThroughputReading()
        self._rates: dict[str, float] = {}
        self._norm: Tensor | None = None

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        step = trainer.global_step + 1
        if step % trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._rates = {f"lr/{group['name']}": float(group["lr"]) for group in optimizer.param_groups}
            gradients = [p.grad for g in optimizer.param_groups for p in g["params"] if p.grad is not None]
            self._norm = torch.linalg.vector_norm(compute_norms(gradients))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._norm is None or trainer.logger is None:
            return
        reading = self._throughput.read()
        done, self._before = reading - self._before, reading
        metrics = {**self._rates, "gradient_norm": self._norm.item()}
        if done.mean_loss is not None:
            metrics["train_loss"] = done.mean_loss
        metrics["throughput/rows_per_second"] = done.rows_per_second
        if done.encoded:
            metrics["throughput/tokens_per_second"] = done.tokens_per_second
        if done.padding is not None:
            metrics["throughput/padding"] = done.padding
        trainer.logger.log_metrics(metrics, step=trainer.global_step - 1)  # as Lightning counts
        self._norm = None
