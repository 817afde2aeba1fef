"""The objective of a classification: the loss of each row, and the weight of each class."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.class_labels import LabelMap, canonical_label
from fusionzoo.errors import column_errors
from fusionzoo.errors.wording import list_names
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objective import Link, Objective

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)


class Softmax(Link):
    """Logits to the probabilities of the classes."""

    output = "probabilities"

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.float().softmax(dim=-1)


class ClassObjective(Objective):
    """Cross-entropy or focal loss, weighted by class. `val_loss` is the weighted cross-entropy.

    Args:
        settings: the settings of the job.
        class_weights: the loss weight of each class [classes], see `compute_class_weights`.
    """

    constant_prediction = "val's class frequencies"
    class_weights: Tensor

    def __init__(self, settings: JobSettings, class_weights: Sequence[float]) -> None:
        super().__init__()
        self.settings, self.link, self._weights = settings, Softmax(), list(class_weights)
        self.register_buffer("class_weights", torch.tensor(class_weights, dtype=torch.float32), persistent=False)

    @classmethod
    def make(cls, settings: JobSettings, train: EncodedSplit, target: LabelMap) -> Self:
        return cls(settings, compute_class_weights(settings, train, target))

    @classmethod
    def make_link(cls, target: LabelMap) -> Softmax:
        return Softmax()

    def row_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return compute_row_losses(outputs, labels, self.settings, self.class_weights)

    def row_weights(self, labels: Tensor) -> Tensor:
        return self.class_weights[labels]

    def validation_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(outputs, labels, weight=self.class_weights.to(outputs.device))

    def constant_loss(self, labels: np.ndarray) -> float:
        """Return the entropy of the weighted class frequencies; at least one class of `labels` has a weight above 0."""
        weights = self.class_weights.cpu().numpy()
        counts = np.bincount(labels, minlength=len(weights)) * weights
        frequencies = counts[counts > 0] / counts.sum()
        return float(-(frequencies * np.log(frequencies)).sum())

    def check_val_labels(self, labels: np.ndarray, fraction: float | None) -> None:
        weights = self.class_weights.cpu().numpy()
        if not weights[labels].any():
            raise errors.DataError([errors.val_without_weight(weights.tolist(), fraction)])

    def summary(self) -> dict[str, Any]:
        return {"class_weights": self._weights}


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
    if settings.loss != "focal":
        return losses
    log_p = F.log_softmax(logits, dim=-1).gather(1, labels.unsqueeze(1)).squeeze(1)
    # x^gamma with gamma below 1 has an infinite gradient at x = 0, so 1 - p is clamped.
    complement = (-torch.expm1(log_p)).clamp(min=torch.finfo(torch.float32).eps)
    return losses * complement**settings.focal_gamma
