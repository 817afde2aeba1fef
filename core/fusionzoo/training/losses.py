"""The training loss: the loss of each row, and the weight of each class."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.labels import LabelMap, canonical_label
from fusionzoo.errors import column_errors
from fusionzoo.errors.wording import list_names
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)


def compute_class_weights(settings: JobSettings, train: EncodedSplit, label_map: LabelMap) -> list[float]:
    """Return the loss weight of each class: the setting's, balanced weights, or 1 for all classes.

    The balanced weight of class c is rows / (classes x rows of c), as in scikit-learn (King and Zeng 2001).

    Raises:
        errors.DataError: the weights are to be balanced, and a class has no rows; or see `weights_of_classes`.
    """
    if settings.class_weights is None:
        return [1.0] * len(label_map.classes)
    if settings.class_weights == "balanced":
        weights = _balance_weights(train, label_map)
    elif isinstance(settings.class_weights, dict):
        weights = weights_of_classes(settings.class_weights, label_map)
    else:
        weights = settings.class_weights
    shown = [f"'{label}' {weight:.6g}" for label, weight in zip(label_map.classes, weights, strict=True)]
    log.info("class_weights: %s", list_names(shown))
    return weights


def weights_of_classes(weights: Mapping[str, float], label_map: LabelMap) -> list[float]:
    """Return the weight of each class by its name, in any notation of a label; 1 for a class without one.

    Raises:
        errors.DataError: a name is not a class, or two names are the same class, or all weights are 0.
    """
    names = [canonical_label(label) for label in label_map.classes]
    written = {name: canonical_label(name.strip()) for name in weights}
    if unknown := [name for name, canonical in written.items() if canonical not in names]:
        raise errors.DataError([column_errors.class_weights_of_unknown_classes(unknown, label_map.classes)])
    count = Counter(written.values())
    if same := [name for name, canonical in written.items() if count[canonical] > 1]:
        raise errors.DataError([column_errors.class_weights_of_same_class(same)])
    weight_of_class = {written[name]: weight for name, weight in weights.items()}
    found = [weight_of_class.get(name, 1.0) for name in names]
    if not any(found):
        raise errors.DataError([column_errors.class_weights_all_zero()])
    return found


def _balance_weights(train: EncodedSplit, label_map: LabelMap) -> list[float]:
    if train.labels is None:
        raise ValueError("balanced class weights need labels")
    counts = np.bincount(train.labels, minlength=len(label_map.classes))
    if not counts.all():
        absent = [label for label, count in zip(label_map.classes, counts, strict=True) if not count]
        raise errors.DataError([errors.no_rows_to_balance(label_map.name, absent)])
    weights: list[float] = (len(train) / (len(counts) * counts)).tolist()
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
