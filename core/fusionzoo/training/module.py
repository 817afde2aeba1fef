"""The only LightningModule: loss, penalties, optimizer and validation metrics of every architecture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from fusionzoo.nn.inference import get_logits
from fusionzoo.nn.schema import Batch, ModelOutput
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objective import Objective, fill_missing, find_labeled
from fusionzoo.training import lightning_compat, optimizers
from fusionzoo.training.gradient_norms import local_shard
from fusionzoo.training.monitoring import log_lines
from fusionzoo.training.monitoring.validation_metrics import MetricsFunction, ValidationMetrics, WeightedMeans

if TYPE_CHECKING:
    from torch.optim.lr_scheduler import LambdaLR


class TrainingModule(LightningModule):
    """Train any module that maps a `Batch` to logits [rows, outputs] or to a `ModelOutput`.

    The loss of a batch is the mean of its rows' losses, weighted by the weights of their labels. Rows without a label
    are ignored. The gradient of an optimizer step equals that of one batch with all rows of the step: those of
    every process and of every batch that `accumulate_grad_batches` joins, even if these batches differ in size.

    Args:
        groups: the optimizer's parameter groups, from `optimizers.parameter_groups`.
        objective: the loss and the link.
        compute_metrics: returns the metrics of labels and scores.
        total_steps: optimizer steps of the whole training, for the learning-rate schedule.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: JobSettings,
        groups: Sequence[dict[str, Any]],
        objective: Objective,
        compute_metrics: MetricsFunction,
        total_steps: int,
    ) -> None:
        super().__init__()
        self.model, self.settings = model, settings
        self._groups, self._total_steps = groups, total_steps
        self.objective = objective
        self._batch_weight = self._step_weight = torch.zeros(())  # the sums of the rows' weights in a batch, in a step
        self.validation_metrics, self._epoch_means = ValidationMetrics(objective, compute_metrics), WeightedMeans()

    def forward(self, batch: Batch) -> Tensor | ModelOutput:
        output: Tensor | ModelOutput = self.model(batch)
        return output

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the batch's `loss`, and the rows' weighted losses, `row_losses` [rows], for callbacks."""
        labels, is_counted = _split_labels(batch)  # before forward, which may write into them
        output = self(batch)
        weight = (self.objective.row_weights(labels) * is_counted).sum()
        row_losses = self.objective.row_losses(get_logits(output), labels) * is_counted
        loss = row_losses.sum() / _clamp_positive(weight)  # the weight is 0 if all rows are ignored
        if isinstance(output, ModelOutput):
            loss = loss + sum(output.penalties.values())
            penalties = {f"penalty_{name}": penalty for name, penalty in output.penalties.items()}
            self._log_epoch_means({**penalties, **output.metrics}, batch.rows)
        is_first_of_step = batch_idx % self.settings.accumulate_grad_batches == 0
        self._batch_weight = weight
        self._step_weight = weight if is_first_of_step else self._step_weight + weight
        return {"loss": loss, "row_losses": row_losses.detach()}

    @property
    def _step_has_parts(self) -> bool:
        """Whether an optimizer step sums the gradients of several batches or processes."""
        return self.settings.accumulate_grad_batches > 1 or self.trainer.world_size > 1

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """Add the gradient of the batch; as the weighted sum over its rows if the step has several parts.

        Dividing by `batch_size` only keeps the numbers small; `on_after_backward` undoes it.
        """
        scale = self._batch_weight / self.settings.batch_size if self._step_has_parts else 1
        super().backward(loss * scale, *args, **kwargs)

    def on_after_backward(self) -> None:
        """After the last part of a step, rescale the gradient from the sum over its rows to their weighted mean."""
        if not self._step_has_parts or lightning_compat.is_mid_accumulation(self.trainer):
            return
        own_weight = self._step_weight.clone()  # `reduce` works in place
        total_weight = torch.as_tensor(self.trainer.strategy.reduce(own_weight, reduce_op="sum"))
        # `backward` divided by batch_size, Lightning by the accumulated batches, and its strategy by the processes.
        divisor = self.settings.batch_size * self.settings.accumulate_grad_batches * self.trainer.world_size
        factor = divisor / _clamp_positive(total_weight)
        for parameter in self.parameters():
            if parameter.grad is not None:
                local_shard(parameter.grad).mul_(factor)

    def _log_epoch_means(self, metrics: Mapping[str, Tensor], rows: int) -> None:
        """Log the means over the epoch's rows of an architecture's metrics; once, as `log_dict` is slow."""
        self._epoch_means.add(metrics, rows)
        if lightning_compat.is_last_batch(self.trainer):
            means = {f"{log_lines.TRAIN_METRIC_PREFIX}{name}": mean for name, mean in self._epoch_means.take().items()}
            self.log_dict(means, batch_size=1, on_step=False, on_epoch=True)

    def validation_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return which rows have finite logits [rows] bool."""
        labels, is_counted = _split_labels(batch)  # before forward, which may write into them
        logits = get_logits(self(batch))
        self.validation_metrics.update(logits[is_counted], labels[is_counted])
        return logits.isfinite().all(dim=-1)

    def on_validation_epoch_end(self) -> None:
        self.log_dict(self.validation_metrics.compute())
        self.validation_metrics.reset()

    def on_train_start(self) -> None:
        for config in self.trainer.lr_scheduler_configs:
            optimizers.apply_schedule(cast("LambdaLR", config.scheduler))  # a resumed training may have more epochs now

    def configure_optimizers(self) -> OptimizerLRScheduler:
        optimizer = optimizers.build_optimizer(self._groups, self.settings)
        scheduler = optimizers.build_scheduler(optimizer, self.settings, self._total_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


def _split_labels(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the labels, valid ones for ignored rows too, and which rows are not ignored [rows] bool."""
    if batch.labels is None:
        raise ValueError("training and validation need labels")
    return fill_missing(batch.labels), find_labeled(batch.labels)


def _clamp_positive(weight: Tensor) -> Tensor:
    return weight.clamp(min=torch.finfo(torch.float32).tiny)
