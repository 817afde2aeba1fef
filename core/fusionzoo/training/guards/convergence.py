"""Warn if the learning rate is unusual for a pretrained encoder, or if the first epoch brought no improvement."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo.evaluation.metric_directions import LOSS_METRIC
from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.label_limits import LabelLimit
from fusionzoo.training.optimizers import PRETRAINED_LR, current_learning_rates

log = logging.getLogger(__name__)

# Learning rates of a pretrained encoder by optimizer (minimum, maximum). Adaptive optimizers are used at 2e-5 to 1e-4;
# SGD, whose step is proportional to the gradient, at 1e-3 to 1e-1.
USUAL_LEARNING_RATES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"adamw": (2e-5, 1e-4), "adam": (2e-5, 1e-4), "sgd": (1e-3, 1e-1)}
)
ACCEPTED_LEARNING_RATES: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"adamw": (1e-7, 1e-3), "adam": (1e-7, 1e-3), "sgd": (1e-6, 1.0)}
)
MAX_COMPARED_STEPS = 100  # at either end of the first epoch
MIN_BATCHES = 30  # before a warning
MIN_GAIN = 0.02  # of val_loss over the constant prediction, relative to the latter's loss (McFadden's R2)
MIN_STANDARD_ERRORS = 2.0  # by which the training loss must decrease, or increase to count as grown
MAX_LOSS_RATIO = 2.0  # of training loss and val_loss to both the first batch's loss and the constant prediction's


def check_learning_rate(settings: JobSettings, tuned: bool) -> str | None:
    """Return a warning if the learning rate of a `tuned` pretrained encoder is unusual; otherwise None."""
    rate = (settings.lr or PRETRAINED_LR) * settings.encoder_lr_scale
    min_rate, max_rate = ACCEPTED_LEARNING_RATES[settings.optimizer]
    if not tuned or min_rate <= rate <= max_rate:
        return None
    min_rate, max_rate = USUAL_LEARNING_RATES[settings.optimizer]
    return _format_unusual_rate(rate, settings.optimizer, min_rate, max_rate, settings.encoder_lr_scale)


class FirstEpochCheck(Callback):
    """Warns after the first epoch if nothing indicates learning, that is, if both of these hold:

    - `val_loss` is not 2 % below that of the best constant prediction, such as the class frequencies of val;
    - the mean training loss of a row in the latest steps (a quarter of an epoch, at most 100) is not two standard
      errors below that in as many first steps.

    With fewer than 30 batches per epoch, the check waits for more epochs. It skips shorter trainings, and those that
    resume from a checkpoint: at the end, `compare_with_constant` judges every training.

    Args:
        val_labels: encoded labels; None disables the check.
        limits: what about the labels limits any model.
    """

    def __init__(self, val_labels: np.ndarray | None, limits: Sequence[LabelLimit] = ()) -> None:
        self._val_labels, self._limits, self._is_active, self._batches = val_labels, limits, False, 0
        self._first: list[Tensor] = []
        self._last: deque[Tensor] = deque()
        self._max_rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if trainer.current_epoch == batch_idx == 0:
            self._is_active = self._val_labels is not None
            self._last = deque(maxlen=min(MAX_COMPARED_STEPS, max(1, int(trainer.num_training_batches) // 4)))
        if self._is_active:
            rates = current_learning_rates(trainer.optimizers)
            self._max_rates = [max(pair) for pair in zip(rates, self._max_rates or rates, strict=True)]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self._is_active:
            return
        losses = outputs["row_losses"]
        sums = torch.stack([torch.full_like(losses.sum(), len(losses)), losses.sum(), losses.square().sum()])
        if len(self._first) < (self._last.maxlen or 0):
            self._first.append(sums)
        self._last.append(sums)
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batches >= MIN_BATCHES:
            self._judge(trainer, pl_module)

    def _judge(self, trainer: Trainer, pl_module: Any) -> None:
        """Warn at most once, in the first rank only: its training losses represent those of all ranks."""
        if not self._is_active:
            return
        self._is_active = False
        if not trainer.is_global_zero or self._val_labels is None:
            return
        constant = pl_module.objective.constant_loss(self._val_labels)
        val_loss = float(trainer.callback_metrics[LOSS_METRIC])
        first, first_variance = _mean_and_variance(self._first)
        last, last_variance = _mean_and_variance(self._last)
        min_change = MIN_STANDARD_ERRORS * math.sqrt(first_variance + last_variance)
        if first - last > min_change or not val_loss > (1 - MIN_GAIN) * constant > 0:  # 0: only one class has a weight
            return
        untrained, _ = _mean_and_variance(self._first[:1])
        is_far_above = min(last, val_loss) > MAX_LOSS_RATIO * max(untrained, constant)
        has_grown = is_far_above or last - first > max(min_change, MIN_GAIN * abs(first))
        compared = "batch" if len(self._first) == 1 else f"{len(self._first)} batches"
        rates = ", ".join(f"{rate:.1e}" for rate in sorted(set(self._max_rates)))
        log.warning(
            "No measurable improvement after %d batches: val_loss is %.4f, and a constant prediction of %s scores "
            "%.4f. The training loss %s %.4f per row in the first %s and %.4f in the last %s. %s.",
            *(self._batches, val_loss, pl_module.objective.constant_prediction, constant),
            *("grew: it was" if has_grown else "was", first, compared, last, compared),
            advise(self._limits, suggest_learning_rate(has_grown, f" (largest learning rates {rates})")),
        )


def advise(limits: Sequence[LabelLimit], general: str) -> str:
    """Return how to fix a training without improvement, with the probable cause if the labels show one.

    Args:
        limits: what about the labels limits any model.
        general: the fix of other causes.
    """
    if not limits:
        return f"Fix: {general}"
    findings, fixes = ". ".join(limit.state() for limit in limits), "; ".join(limit.fix for limit in limits)
    return f"{findings}. Fix: {fixes}; if this does not help, {general}"


def suggest_learning_rate(has_grown: bool, rates: str = "") -> str:
    """Return the fix if the training loss has grown, or has not fallen; `rates` follow lr, after a space."""
    if has_grown:
        return f"lower lr{rates}, or set gradient_clip_val"
    return f"raise lr{rates}, check that label_name belongs to the text and the table, or use more rows or epochs"


def _mean_and_variance(sums: Iterable[Tensor]) -> tuple[float, float]:
    """Return the mean loss of a row, and that mean's variance; `sums` are rows, losses, squared losses [3] per step."""
    rows, total, squares = torch.stack(list(sums)).double().sum(dim=0).tolist()
    mean = total / rows
    return mean, max(0.0, squares / rows - mean**2) / rows


def _format_unusual_rate(rate: float, optimizer: str, min_usual: float, max_usual: float, scale: float) -> str:
    """Return the warning about a learning rate outside of what is usual with this optimizer."""
    side = "above" if rate > max_usual else "below"
    effect = "forgets its pretraining, or diverges" if rate > max_usual else "hardly learns"
    return (
        f"The learning rate of the pretrained text encoder is {rate:.1e} (lr x encoder_lr_scale of {scale:g}), far "
        f"{side} the usual {min_usual:.0e} to {max_usual:.0e} with {optimizer}. The encoder probably {effect}. "
        f"Fix: set lr: {max_usual:.0e}, and remove encoder_lr_scale."
    )
