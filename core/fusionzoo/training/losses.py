"""The training loss: the loss of each row, and the weight of each class."""

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


def compute_class_weights(settings: JobSettings, train: EncodedSplit, label_map: LabelMap) -> list[float]:
    """Return the loss weight of each class: the setting's, balanced weights, or 1 for all classes.

    The balanced weight of class c is rows / (classes x rows of c), as in scikit-learn (King and Zeng 2001).

    Raises:
        errors.DataError: the weights are to be balanced, and a class has no rows.
    """
    if settings.class_weights != "balanced":
        return settings.class_weights or [1.0] * len(label_map.classes)
    if train.labels is None:
        raise ValueError("balanced class weights need labels")
    counts = np.bincount(train.labels, minlength=len(label_map.classes))
    if not counts.all():
        absent = [label for label, count in zip(label_map.classes, counts, strict=True) if not count]
        raise errors.DataError([errors.no_rows_to_balance(label_map.name, absent)])
    weights: list[float] = (len(train) / (len(counts) * counts)).tolist()
    log.info("Balanced class_weights: %s", ", ".join(f"{weight:.6g}" for weight in weights))
    return weights


def compute_row_losses(logits: Tensor, labels: Tensor, settings: JobSettings, class_weights: Tensor) -> Tensor:
    """Return the weighted loss of each row [rows] float32.

    The batch's loss is their sum divided by the sum of the rows' class weights. Focal loss is -w (1 - p)^gamma log p of
    the true class (Lin et al. 2017, arXiv 1708.02002).

    Args:
        logits: [rows, classes].
        labels: [rows] int64.
        class_weights: [classes] float32.
    """
    logits, smoothing = logits.float(), settings.label_smoothing
    losses = F.cross_entropy(logits, labels, weight=class_weights, reduction="none", label_smoothing=smoothing)
    if settings.loss == "cross_entropy":
        return losses
    log_p = F.log_softmax(logits, dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    # x^gamma with gamma below 1 has an infinite gradient at x = 0, so 1 - p is clamped.
    complement = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).eps)
    return losses * complement**settings.focal_gamma
