"""What training minimises: a row's loss, and how much each class counts."""

from __future__ import annotations

import logging

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import LabelMap
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)


def class_weights(settings: JobSettings, train: EncodedSplit, known: LabelMap) -> list[float]:
    """The loss weight of each class; 1 where all count alike.

    Balanced, class c has rows / (classes x rows of c), as in scikit-learn (King and Zeng 2001).

    Raises:
        errors.DataError: they are to be balanced, and a class has no rows.
    """
    if settings.class_weights != "balanced":
        return settings.class_weights or [1.0] * len(known.classes)
    if train.labels is None:
        raise ValueError("rows without labels cannot be balanced")
    counts = np.bincount(train.labels, minlength=len(known.classes))
    if not counts.all():
        absent = [label for label, count in zip(known.classes, counts, strict=True) if not count]
        raise errors.DataError([errors.balance_without_rows(known.name, absent)])
    weights: list[float] = (len(train) / (len(counts) * counts)).tolist()
    log.info("class_weights: balanced: %s", ", ".join(f"{weight:.6g}" for weight in weights))
    return weights


def row_losses(logits: Tensor, labels: Tensor, settings: JobSettings, weights: Tensor) -> Tensor:
    """The weighted loss of each row [rows] float32; over the rows' class weights, their sum is the batch's mean.

    Focal loss is -w (1 - p)^gamma log p of the true class (Lin et al. 2017, arXiv 1708.02002).

    Args:
        logits: [rows, classes].
        labels: [rows] int64.
        weights: [classes] float32.
    """
    logits, smoothing = logits.float(), settings.label_smoothing
    losses = F.cross_entropy(logits, labels, weight=weights, reduction="none", label_smoothing=smoothing)
    if settings.loss == "cross_entropy":
        return losses
    log_p = F.log_softmax(logits, dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    missed = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).eps)  # below 1, gamma has no slope at 0
    return losses * missed**settings.focal_gamma
