"""Stop a training if its outputs for val are NaN or infinite, or if the early-stopping metric is undefined."""

from __future__ import annotations

import math
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.nn.schema import Batch
from fusionzoo.training import optimizers
from fusionzoo.training.distributed.collectives import all_gather_flat
from fusionzoo.training.guards.divergence_report import lookup_ids, suggest_fix
from fusionzoo.training.resolved_settings import ResolvedJobSettings


class ValidationGuard(Callback):
    """Checks the outputs and the metrics of each validation.

    Args:
        val: the validation split.

    Raises:
        errors.TrainingDivergedError: an output for val is not finite; names the rows.
        errors.MetricUndefinedError: `early_stop_metric` is missing or not finite.
        errors.DataError: `val_loss` is undefined for the labels of val, for example because all have weight 0.
    """

    def __init__(self, settings: ResolvedJobSettings, val: EncodedSplit) -> None:
        self._settings, self._ids, self._labels = settings, val.ids, val.labels
        self._rows: list[Tensor] = []  # of each batch [rows]
        self._is_finite: list[Tensor] = []  # of each batch [rows] bool

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if self._labels is not None:
            pl_module.objective.check_val_labels(self._labels, self._settings.val_fraction)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._rows, self._is_finite = [], []

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        # The filler row of a rank without rows needs no special case: another rank scores the same row.
        self._rows.append(batch.row)
        self._is_finite.append(outputs)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        nonfinite = all_gather_flat(torch.cat(self._rows)[~torch.cat(self._is_finite)].tolist())
        if nonfinite:
            raise errors.TrainingDivergedError.outputs(
                trainer.global_step,
                errors.rows_of_val(lookup_ids(self._ids, sorted(nonfinite)), len(self._ids)),
                optimizers.current_learning_rates(trainer.optimizers),
                suggest_fix(self._settings, trainer),
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        metric = self._settings.early_stop_metric
        logged = trainer.callback_metrics.get(metric)
        value = None if logged is None else float(logged)
        if value is None or not math.isfinite(value):
            raise errors.MetricUndefinedError(metric, value, self._settings.task, self._settings.val_fraction)
