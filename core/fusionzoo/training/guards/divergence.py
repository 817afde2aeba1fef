"""Stops a training whose loss, gradients, weights or outputs are no longer numbers, and says in which step and rows."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training import optimizers
from fusionzoo.training.checkpointing.checkpoint_io import MODEL_PREFIX
from fusionzoo.training.datamodule import SplitsDataModule
from fusionzoo.training.distributed import collectives
from fusionzoo.training.gradient_norms import compute_norms
from fusionzoo.training.guards.convergence import FirstEpochCheck
from fusionzoo.training.guards.memory import CurrentBatch

MAX_OVERFLOWS = 40  # in a row: from 2^16, fp16's loss scale is then below the smallest number that fp16 has
LISTED_GRADIENTS = 3  # gradients that a report names


def guard_callbacks(settings: JobSettings, splits: SplitsDataModule) -> list[Callback]:
    """All that watches over a training. They stand before the callbacks that read metrics or save."""
    return [
        DivergenceGuard(settings, splits.train.ids),
        ValidationGuard(settings, splits.val),
        FirstEpochCheck(splits.val.labels),
        CurrentBatch(),
    ]


@dataclass(frozen=True)
class GradientNorms:
    """The norm of each parameter's gradient in a step, before clipping; names as the plugin's author knows them."""

    step: int
    names: list[str]
    values: Tensor  # [parameters], where they were made


@dataclass(frozen=True)
class _PendingCheck:
    """What is kept of a batch until it is known whether all of it is finite; tensors stay where they were made."""

    step: int
    place: str
    loss: Tensor
    row_losses: Tensor  # [rows]
    rows: Tensor  # [rows]
    rows_of_step: list[Tensor]  # of the batches that its optimiser step has joined so far
    rates: list[float]
    norms: GradientNorms | None  # None while the step has more batches to come
    nonfinite: Tensor  # [2], above 0 where a rank's loss, or a gradient, is not finite; on the CPU
    copy_done: torch.cuda.Event | None  # when `unfinite` may be read


class DivergenceGuard(Callback):
    """Ends a training with the step, rows, gradients and rates where its loss, gradients or weights are not finite.

    On a GPU it looks at a batch when the next one has been queued, so that neither waits for the other, and in any case
    before a validation and a checkpoint. All ranks find out at the same step. Under fp16, gradients may overflow: the
    loss scale then falls, and the step is skipped.

    Args:
        ids: of the training rows.

    Raises:
        errors.TrainingDivergedError: there is a loss, gradient or weight that is not finite.
    """

    def __init__(self, settings: JobSettings, ids: pa.Array | pa.ChunkedArray) -> None:
        self._settings, self._ids = settings, ids
        self._looks: deque[_PendingCheck] = deque()
        self._rows_of_step: list[Tensor] = []
        self._rates: list[float] = []
        self._norms: GradientNorms | None = None
        self._known: GradientNorms | None = None  # of the last step whose gradients were finite
        self._overflows = 0

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        self._rates = optimizers.current_learning_rates(trainer.optimizers)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Any) -> None:
        named = [(n, p.grad) for n, p in pl_module.named_parameters() if p.grad is not None]
        names = [name.removeprefix(MODEL_PREFIX) for name, _ in named]
        self._norms = GradientNorms(trainer.global_step + 1, names, compute_norms([grad for _, grad in named]))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        loss, norms = outputs["loss"].detach(), self._norms
        step = trainer.global_step + (norms is None)
        self._rows_of_step.append(batch.row)
        place = _format_place(step, trainer.current_epoch + 1, batch_idx + 1, trainer.num_training_batches)
        finite = torch.ones_like(loss) if norms is None else norms.values.isfinite().all()
        nonfinite = torch.stack([~loss.isfinite(), finite == 0]).float()
        if trainer.world_size > 1:
            nonfinite = torch.as_tensor(trainer.strategy.reduce(nonfinite, reduce_op="sum"))
        copy_done = None
        if nonfinite.is_cuda:
            nonfinite = nonfinite.to("cpu", non_blocking=True)
            copy_done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copy_done.record()
        losses, joined, rates = outputs["row_losses"], list(self._rows_of_step), self._rates
        self._looks.append(
            _PendingCheck(step, place, loss, losses, batch.row, joined, rates, norms, nonfinite, copy_done)
        )
        if norms is not None:
            self._norms, self._rows_of_step = None, []
        self._drain(trainer, wait_for_last=copy_done is None)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._check(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._check(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._drain(trainer, wait_for_last=True)

    def _check(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at all that is left, and at the weights themselves: a finite step can be too long for a weight."""
        self._drain(trainer, wait_for_last=True)
        learned = [
            (n.removeprefix(MODEL_PREFIX), p.detach()) for n, p in pl_module.named_parameters() if p.requires_grad
        ]
        finite = compute_norms([weight for _, weight in learned]).isfinite().tolist()
        if not all(finite):
            broken = [name for (name, _), good in zip(learned, finite, strict=True) if not good]
            raise errors.TrainingDivergedError.weights(
                trainer.global_step,
                broken,
                optimizers.current_learning_rates(trainer.optimizers),
                divergence_fix(self._settings, trainer),
            )

    def _drain(self, trainer: Trainer, wait_for_last: bool) -> None:
        while len(self._looks) > (not wait_for_last):
            look = self._looks.popleft()
            if look.copy_done is not None:
                look.copy_done.synchronize()
            self._judge(trainer, look)

    def _judge(self, trainer: Trainer, look: _PendingCheck) -> None:
        bad_loss, bad_gradient = (count > 0 for count in look.nonfinite.tolist())
        if bad_loss:
            raise self._diverged_loss(trainer, look)
        if look.norms is None:
            return
        if not bad_gradient:
            self._known, self._overflows = look.norms, 0
            return
        self._overflows += 1
        scaled = trainer.precision == "16-mixed"
        if not scaled or self._overflows >= MAX_OVERFLOWS:
            ids = _gathered(self._named(torch.cat(look.rows_of_step)))
            rows = errors.rows_of_step(ids) + (f" {errors.gradient_overflows(MAX_OVERFLOWS)}" if scaled else "")
            raise errors.TrainingDivergedError.gradient(
                look.place, rows, self._gradients(look), look.rates, divergence_fix(self._settings, trainer)
            )

    def _diverged_loss(self, trainer: Trainer, look: _PendingCheck) -> errors.TrainingDivergedError:
        broken = _gathered(self._named(look.rows[~look.row_losses.isfinite()]))
        every = _gathered(self._named(look.rows))
        rows = errors.rows_not_finite(broken, len(every)) if broken else errors.rows_finite_loss_not(every)
        values = _gathered([float(look.loss)])
        value = next(value for value in values if not math.isfinite(value))
        return errors.TrainingDivergedError.loss(
            look.place, value, rows, self._gradients(look), look.rates, divergence_fix(self._settings, trainer)
        )

    def _gradients(self, look: _PendingCheck) -> list[str]:
        """What is known of the gradients: which are not finite, and the largest of the last step where all are."""
        told = []
        if look.norms is not None:
            finite = look.norms.values.isfinite().tolist()
            broken = [name for name, good in zip(look.norms.names, finite, strict=True) if not good]
            if broken:
                told.append(errors.gradients_not_finite(broken, len(finite)))
        if self._known is not None:
            values, order = self._known.values.topk(min(LISTED_GRADIENTS, len(self._known.names)))
            names = [self._known.names[i] for i in order.tolist()]
            told.append(errors.gradients_largest(self._known.step, list(zip(names, values.tolist(), strict=True))))
        return told

    def _named(self, rows: Tensor) -> list[Any]:
        return ids_of_rows(self._ids, rows.tolist())


class ValidationGuard(Callback):
    """Ends a training whose outputs for val are not finite, or whose early-stopping metric has no value.

    Args:
        val: the split whose rows are named.

    Raises:
        errors.TrainingDivergedError: an output for val is not finite; it names the rows.
        errors.MetricUndefinedError: `early_stop_metric` is not there, or not finite.
        errors.DataError: no row of val has a class weight above 0, so `val_loss` has no value.
    """

    def __init__(self, settings: JobSettings, val: EncodedSplit) -> None:
        self._settings, self._ids, self._labels = settings, val.ids, val.labels
        self._seen: list[tuple[Tensor, Tensor]] = []

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        weights = pl_module.class_weights.cpu().numpy()
        if self._labels is not None and not weights[self._labels].any():
            raise errors.DataError([errors.val_without_weight(weights.tolist())])

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._seen = []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._seen.append((batch.row, outputs))  # a row that does not count is seen by another rank, too

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        finite = torch.cat([finite for _, finite in self._seen])
        broken = _gathered(torch.cat([rows for rows, _ in self._seen])[~finite].tolist())
        if broken:
            rows = errors.rows_of_val(ids_of_rows(self._ids, sorted(broken)), len(self._ids))
            raise errors.TrainingDivergedError.outputs(
                trainer.global_step,
                rows,
                optimizers.current_learning_rates(trainer.optimizers),
                divergence_fix(self._settings, trainer),
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metric = self._settings.early_stop_metric
        found = trainer.callback_metrics.get(metric)
        value = None if found is None else float(found)
        if value is None or not math.isfinite(value):
            raise errors.MetricUndefinedError(metric, value)


def ids_of_rows(ids: pa.Array | pa.ChunkedArray, rows: Iterable[int]) -> list[Any]:
    """The ids of these rows, as they came in the data."""
    return [ids[row].as_py() for row in rows]


def divergence_fix(settings: JobSettings, trainer: Trainer) -> str:
    """What to change in the settings of a training that diverged."""
    return errors.divergence_fix(settings.lr, settings.gradient_clip_val, str(trainer.precision))


def _gathered(found: list[Any]) -> list[Any]:
    """What all ranks have found, in the order of the ranks. All of them must ask."""
    return [entry for part in collectives.all_gather(found) for entry in part]


def _format_place(step: int, epoch: int, batch: int, batches: int | float) -> str:
    return f"step {step} (epoch {epoch}, batch {batch} of {batches})"
