"""Whether a training learns: rates that are usual for a pretrained encoder, and what the first epoch has brought."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from fusionzoo.nn.schema import Batch
from fusionzoo.settings import JobSettings
from fusionzoo.training.optimizers import PRETRAINED_LR, current_learning_rates

log = logging.getLogger(__name__)

USUAL: Mapping[str, tuple[float, float]] = MappingProxyType(  # rates of a pretrained encoder, by optimiser
    {"adamw": (2e-5, 1e-4), "adam": (2e-5, 1e-4), "sgd": (1e-3, 1e-1)}
)
TOLERATED: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"adamw": (1e-7, 1e-3), "adam": (1e-7, 1e-3), "sgd": (1e-6, 1.0)}
)
MOST_STEPS = 100  # at either end of the first epoch whose losses are compared
ENOUGH_BATCHES = 30  # to be judged at the end of an epoch
FEWEST_BATCHES = 4  # to be judged at all
SMALLEST_GAIN = 0.02  # of val_loss over the constant prediction, as a share of its loss (McFadden's R2)
ERRORS = 2.0  # standard errors by which the training loss must fall to have fallen


def check_learning_rate(settings: JobSettings, tuned: bool) -> str | None:
    """What to say where a `tuned` pretrained encoder learns at a rate that can hardly be meant; None otherwise.

    Adaptive optimisers are used at 2e-5 to 1e-4; SGD, whose step is as long as the gradient, at 1e-3 to 1e-1.
    """
    rate = (settings.lr or PRETRAINED_LR) * settings.encoder_lr_scale
    lowest, highest = TOLERATED[settings.optimizer]
    if not tuned or lowest <= rate <= highest:
        return None
    lowest, highest = USUAL[settings.optimizer]
    return _format_unusual_rate(rate, settings.optimizer, lowest, highest, settings.encoder_lr_scale)


class FirstEpochCheck(Callback):
    """Warns after the first epoch where nothing points to learning. Both must hold:

    - `val_loss` is not 2 % below that of the constant prediction that suits val best, its (weighted) class shares;
    - the mean training loss of a row in the latest steps (a quarter of an epoch, 100 at most) is not below that in as
      many first ones by two standard errors.

    With fewer than 30 batches in an epoch, it waits for more epochs, or for the end. A training of fewer than four
    batches, or one that goes on from a checkpoint, is not judged.

    Args:
        val: class indices [rows]; where there are none, nothing is judged.
    """

    def __init__(self, val: np.ndarray | None) -> None:
        self._val, self._watching, self._batches = val, False, 0
        self._first: list[Tensor] = []
        self._last: deque[Tensor] = deque()
        self._rates: list[float] = []

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int) -> None:
        if trainer.current_epoch == batch_idx == 0:
            self._watching = self._val is not None
            self._last = deque(maxlen=min(MOST_STEPS, max(1, int(trainer.num_training_batches) // 4)))
        if self._watching:
            rates = current_learning_rates(trainer.optimizers)
            self._rates = [max(pair) for pair in zip(rates, self._rates or rates, strict=True)]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Batch, batch_idx: int
    ) -> None:
        if not self._watching:
            return
        losses = outputs["row_losses"]
        sums = torch.stack([torch.full_like(losses.sum(), len(losses)), losses.sum(), losses.square().sum()])
        if len(self._first) < (self._last.maxlen or 0):
            self._first.append(sums)
        self._last.append(sums)
        self._batches += 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._batches >= ENOUGH_BATCHES:
            self._judge(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._judge(trainer, pl_module)

    def _judge(self, trainer: Trainer, pl_module: Any) -> None:
        """Once, and only by the first rank, whose training losses stand for all."""
        if not self._watching:
            return
        self._watching = False
        if not trainer.is_global_zero or self._val is None or self._batches < FEWEST_BATCHES:
            return
        constant = constant_loss(self._val, pl_module.class_weights.cpu().numpy())
        val_loss = float(trainer.callback_metrics["val_loss"])
        (first, first_variance), (last, last_variance) = _mean(self._first), _mean(self._last)
        fell = first - last > ERRORS * math.sqrt(first_variance + last_variance)
        if not fell and val_loss > (1 - SMALLEST_GAIN) * constant > 0:  # 0: only one class counts
            steps = len(self._first)
            log.warning(_format_no_improvement(self._batches, val_loss, constant, (first, last), steps, self._rates))


def constant_loss(labels: np.ndarray, class_weights: np.ndarray) -> float:
    """The lowest `val_loss` that one and the same prediction for all rows can have: the entropy of the class shares.

    Args:
        labels: class indices [rows]; at least one is of a class with a weight above 0.
        class_weights: [classes]; how much a row of each class counts.
    """
    counts = np.bincount(labels, minlength=len(class_weights)) * class_weights
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum())


def _mean(sums: Sequence[Tensor] | deque[Tensor]) -> tuple[float, float]:
    """The mean loss of a row over some steps, and that mean's variance; each step gives rows, sum, sum of squares."""
    rows, total, squares = torch.stack(list(sums)).double().sum(dim=0).tolist()
    mean = total / rows
    return mean, max(0.0, squares / rows - mean**2) / rows


def _format_unusual_rate(rate: float, optimizer: str, lowest: float, highest: float, scale: float) -> str:
    """Return the warning; `lowest` and `highest` are the rates that are usual with this optimizer."""
    side = "above" if rate > highest else "below"
    effect = "forgets its pretraining, or diverges" if rate > highest else "hardly learns"
    return (
        f"The learning rate of the pretrained text encoder is {rate:.1e} (lr x encoder_lr_scale of {scale:g}), far "
        f"{side} the usual {lowest:.0e} to {highest:.0e} with {optimizer}. The encoder probably {effect}. "
        f"Fix: set lr: {highest:.0e}, and remove encoder_lr_scale."
    )


def _format_no_improvement(
    batches: int, val_loss: float, constant: float, losses: tuple[float, float], steps: int, rates: Sequence[float]
) -> str:
    """Return the warning; `losses` are mean losses per row in the first and in the last `steps` batches."""
    shown = ", ".join(f"{rate:.1e}" for rate in sorted(set(rates)))
    noun = "batch" if steps == 1 else "batches"
    return (
        f"No measurable improvement after {batches} batches: val_loss is {val_loss:.4f}, and a constant prediction of "
        f"val's class frequencies scores {constant:.4f}. The training loss was {losses[0]:.4f} per row in the first "
        f"{steps} {noun} and {losses[1]:.4f} in the last {steps}. "
        f"Fix: raise lr (largest learning rates {shown}), check that label_name belongs to the text and the table, or "
        "use more rows or epochs."
    )
