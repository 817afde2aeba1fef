"""The only LightningModule: loss, penalties, optimiser and validation figures of every architecture."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.settings import JobSettings
from fusionzoo.training import losses, optimizers
from fusionzoo.training.gradient_norms import local_shard
from fusionzoo.training.monitoring import log_lines
from fusionzoo.training.monitoring.validation_metrics import ValidationMetrics, WeightedMeans

STEPS_BETWEEN_LOOKS = 8  # at what other processes want, on a GPU


class Classifier(LightningModule):
    """Trains any module that turns a `Batch` into logits [rows, classes] or a `ModelOutput`.

    A batch's loss is the mean over its rows, each counting as much as its class; a row whose label is below 0 does not
    count. The gradient of an optimiser step is that of one batch of all its rows: on every process, and of every batch
    that `accumulate_grad_batches` joins, however many rows each has. `val_loss` is cross entropy whatever `loss` and
    `label_smoothing` say.
    """

    class_weights: Tensor

    def __init__(
        self,
        model: nn.Module,
        settings: JobSettings,
        groups: Sequence[dict[str, Any]],
        class_weights: Sequence[float],
        steps: int,
        local_requests: Callable[[], tuple[bool, bool]] = lambda: (False, False),
    ) -> None:
        """`wishes` tells whether this process wants to stop, and whether to save, after the step."""
        super().__init__()
        self.model, self.settings = model, settings
        self._groups, self._steps = groups, steps
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)
        self._batch_weight = self._step_weight = torch.zeros(())  # of a batch's rows, of those that its step joins
        self._wishes, self._agreed = local_requests, torch.zeros(3)
        self.scores, self._means = ValidationMetrics(), WeightedMeans()

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        output: Tensor | ModelOutput = self.model(batch)
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """The batch's `loss`, and `row_losses` [rows] for callbacks, each weighted by its row's class."""
        output, (labels, counts) = self(batch), _labels(batch)
        weight = (self.class_weights[labels] * counts).sum()
        by_row = losses.row_losses(get_logits(output), labels, self.settings, self.class_weights) * counts
        loss = by_row.sum() / weight.clamp(min=torch.finfo(torch.float32).tiny)  # no row may count
        if isinstance(output, ModelOutput):
            loss = loss + sum(output.penalties.values())
            penalties = {f"penalty_{name}": penalty for name, penalty in output.penalties.items()}
            self._log_figures({**penalties, **output.metrics}, batch.rows)
        begins = batch_idx % self.settings.accumulate_grad_batches == 0
        self._batch_weight = weight
        self._step_weight = weight if begins else self._step_weight + weight
        return {"loss": loss, "row_losses": by_row.detach()}

    @property
    def _steps_have_parts(self) -> bool:
        return self.settings.accumulate_grad_batches > 1 or self.trainer.world_size > 1

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """A part of a step adds what its rows ask for, not their mean; `batch_size` only keeps numbers small."""
        part = self._batch_weight / self.settings.batch_size if self._steps_have_parts else 1
        super().backward(loss * part, *args, **kwargs)

    def on_after_backward(self) -> None:
        """Where a step's last part has been added: from the sum of what its rows ask for to their weighted mean."""
        every, done = self.settings.accumulate_grad_batches, self.trainer.fit_loop.epoch_loop.batch_progress
        if not self._steps_have_parts or not (done.current.ready % every == 0 or done.is_last_batch):
            return
        mine = torch.tensor(self._wishes(), dtype=torch.float32, device=self.device)
        own = torch.cat([self._step_weight.reshape(1), mine])
        self._agreed = torch.as_tensor(self.trainer.strategy.reduce(own, reduce_op="sum"))
        total = self._agreed[0]
        divided = self.settings.batch_size * every * self.trainer.world_size  # by us, by Lightning, by its strategy
        factor = divided / total.clamp(min=torch.finfo(torch.float32).tiny)
        for parameter in self.parameters():
            if parameter.grad is not None:
                local_shard(parameter.grad).mul_(factor)

    def synced_requests(self) -> tuple[bool, bool]:
        """At the end of a step, the same on all processes: whether any wants to stop, and whether any wants to save.

        GPUs run ahead of Python; they are not waited for in every step.
        """
        if self.trainer.world_size == 1:
            return self._wishes()
        if self.device.type != "cpu" and self.global_step % STEPS_BETWEEN_LOOKS:
            return False, False
        _, stop, save = self._agreed.tolist()
        return stop > 0, save > 0

    def _log_figures(self, metrics: Mapping[str, Tensor], rows: int) -> None:
        """Log means over the epoch's rows of what an architecture tells of itself, at its end: Lightning is slow."""
        self._means.add(metrics, rows)
        if self.trainer.is_last_batch:
            named = {f"{log_lines.TRAIN_METRIC_PREFIX}{name}": mean for name, mean in self._means.take().items()}
            self.log_dict(named, batch_size=1, on_step=False, on_epoch=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Which rows have finite logits [rows] bool."""
        logits, (labels, counts) = get_logits(self(batch)), _labels(batch)
        self.scores.update(logits[counts], labels[counts], self.class_weights)
        return logits.isfinite().all(dim=-1)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.scores.compute())
        self.scores.reset()

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optimizers.build_optimizer(self._groups, self.settings)
        schedule = optimizers.build_scheduler(optimizer, self.settings, self._steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _labels(batch: Batch) -> tuple[Tensor, Tensor]:
    """The labels [rows], and which rows count [rows]; one that does not has the label 0 here."""
    if batch.labels is None:
        raise ValueError("a batch without labels cannot be trained on")
    return batch.labels.clamp(min=0), batch.labels >= 0
