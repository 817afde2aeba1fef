"""Stop a training if its loss, gradients or weights become NaN or infinite, and report the step and the rows."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo import errors
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing.checkpoint_io import MODEL_PREFIX
from fusionzoo.training.distributed.collectives import all_gather_flat
from fusionzoo.training.gradient_norms import compute_norms
from fusionzoo.training.guards.divergence_report import GradientNorms, describe_gradients, lookup_ids, suggest_fix

# Consecutive overflows: fp16's loss scale starts at 2^16 and is then below the smallest number that fp16 represents.
MAX_OVERFLOWS = 40


@dataclass(frozen=True)
class _PendingCheck:
    """What to keep of a batch until its values are known to be finite; tensors stay on their device."""

    step: int
    place: str
    loss: Tensor
    row_losses: Tensor  # [rows]
    rows: Tensor  # [rows]
    rows_of_step: list[Tensor]  # of the batches accumulated so far for this optimizer step
    learning_rates: list[float]
    norms: GradientNorms | None  # None if the step accumulates more batches
    nonfinite: Tensor  # [2] on the CPU, above 0 if the loss, or a gradient, of any rank is not finite
    copy_done: torch.cuda.Event | None  # when `nonfinite` may be read


class DivergenceGuard(Callback):
    """Stops a training with the step, rows, gradients and learning rates if a loss, gradient or weight is not finite.

    On a GPU it checks a batch after the next one was queued, so that neither waits for the other. It always checks all
    batches before a validation and before a checkpoint. All ranks stop at the same step. Under fp16, gradients may
    overflow: then the loss scale decreases, and the step is skipped.

    Args:
        ids: the ids of the training rows.

    Raises:
        errors.TrainingDivergedError: a loss, gradient or weight is not finite.
    """

    def __init__(self, settings: JobSettings, ids: pa.Array | pa.ChunkedArray) -> None:
        self._settings, self._ids = settings, ids
        self._pending: deque[_PendingCheck] = deque()
        self._rows_of_step: list[Tensor] = []
        self._learning_rates: list[float] = []
        self._norms: GradientNorms | None = None
        self._last_finite: GradientNorms | None = None
        self._overflows = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._learning_rates = optimizers.current_learning_rates(trainer.optimizers)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        names = [name.removeprefix(MODEL_PREFIX) for name in gradients]
        self._norms = GradientNorms(trainer.global_step + 1, names, compute_norms(gradients.values()))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        loss, norms, batches = outputs["loss"].detach(), self._norms, trainer.num_training_batches
        step = trainer.global_step + (norms is None)
        self._rows_of_step.append(batch.row)
        nonfinite, copy_done = _start_copy(_count_nonfinite(trainer, loss, norms))
        self._pending.append(
            _PendingCheck(
                step=step,
                place=f"step {step} (epoch {trainer.current_epoch + 1}, batch {batch_idx + 1} of {batches})",
                loss=loss,
                row_losses=outputs["row_losses"],
                rows=batch.row,
                rows_of_step=list(self._rows_of_step),
                learning_rates=self._learning_rates,
                norms=norms,
                nonfinite=nonfinite,
                copy_done=copy_done,
            )
        )
        if norms is not None:
            self._norms, self._rows_of_step = None, []
        self._drain(trainer, include_last=copy_done is None)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drain(trainer, include_last=True)
        self._check_weights(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._drain(trainer, include_last=True)
        self._check_weights(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drain(trainer, include_last=True)

    def _drain(self, trainer: Trainer, include_last: bool) -> None:
        """Check the pending batches; `include_last` waits for the GPU if necessary."""
        while len(self._pending) > (not include_last):
            pending = self._pending.popleft()
            if pending.copy_done is not None:
                pending.copy_done.synchronize()
            self._check(trainer, pending)

    def _check(self, trainer: Trainer, pending: _PendingCheck) -> None:
        loss_is_nonfinite, gradient_is_nonfinite = (count > 0 for count in pending.nonfinite.tolist())
        if loss_is_nonfinite:
            raise self._loss_error(trainer, pending)
        if pending.norms is None:
            return
        if not gradient_is_nonfinite:
            self._last_finite, self._overflows = pending.norms, 0
            return
        self._overflows += 1
        has_loss_scale = trainer.precision == "16-mixed"
        if not has_loss_scale or self._overflows >= MAX_OVERFLOWS:
            ids = all_gather_flat(self._lookup_ids(torch.cat(pending.rows_of_step)))
            overflows = f" {errors.gradient_overflows(MAX_OVERFLOWS)}" if has_loss_scale else ""
            raise errors.TrainingDivergedError.gradient(
                pending.place,
                errors.rows_of_step(ids) + overflows,
                describe_gradients(pending.norms, self._last_finite),
                pending.learning_rates,
                suggest_fix(self._settings, trainer),
            )

    def _loss_error(self, trainer: Trainer, pending: _PendingCheck) -> errors.TrainingDivergedError:
        nonfinite_ids = all_gather_flat(self._lookup_ids(pending.rows[~pending.row_losses.isfinite()]))
        ids = all_gather_flat(self._lookup_ids(pending.rows))
        losses = all_gather_flat([float(pending.loss)])
        return errors.TrainingDivergedError.loss(
            pending.place,
            next(loss for loss in losses if not math.isfinite(loss)),
            errors.rows_not_finite(nonfinite_ids, len(ids)) if nonfinite_ids else errors.rows_finite_loss_not(ids),
            describe_gradients(pending.norms, self._last_finite),
            pending.learning_rates,
            suggest_fix(self._settings, trainer),
        )

    def _check_weights(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the trainable weights: a finite gradient can still move a weight out of range."""
        weights = {name: p.detach() for name, p in pl_module.named_parameters() if p.requires_grad}
        is_finite = compute_norms(weights.values()).isfinite().tolist()
        if not all(is_finite):
            names = [
                name.removeprefix(MODEL_PREFIX) for name, finite in zip(weights, is_finite, strict=True) if not finite
            ]
            raise errors.TrainingDivergedError.weights(
                trainer.global_step,
                names,
                optimizers.current_learning_rates(trainer.optimizers),
                suggest_fix(self._settings, trainer),
            )

    def _lookup_ids(self, rows: Tensor) -> list[Any]:
        return lookup_ids(self._ids, rows.tolist())


def _count_nonfinite(trainer: Trainer, loss: Tensor, norms: GradientNorms | None) -> Tensor:
    """Return on how many ranks the loss, and a gradient, is not finite [2]."""
    gradients_are_finite = torch.ones_like(loss) if norms is None else norms.values.isfinite().all()
    nonfinite = torch.stack([~loss.isfinite(), gradients_are_finite == 0]).float()
    if trainer.world_size > 1:
        nonfinite = torch.as_tensor(trainer.strategy.reduce(nonfinite, reduce_op="sum"))
    return nonfinite


def _start_copy(values: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """Start to copy values to the CPU; returns the copy, and the event after which it may be read."""
    if not values.is_cuda:
        return values, None
    copy, copy_done = values.to("cpu", non_blocking=True), torch.cuda.Event()  # type: ignore[no-untyped-call]
    copy_done.record()
    return copy, copy_done
