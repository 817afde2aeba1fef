"""The objective of a multilabel classification: the loss of each label of a row, and the weight of present labels."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from fusionzoo import errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_sets import LabelSets
from fusionzoo.errors import target_errors
from fusionzoo.errors.wording import list_names
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.class_objective import weights_of_classes
from fusionzoo.tasks.objective import Link, Objective

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)


class Sigmoid(Link):
    """Logits to the probability of each label."""

    output = "probabilities"

    def forward(self, outputs: Tensor) -> Tensor:
        return outputs.float().sigmoid()


class MultilabelObjective(Objective):
    """Binary cross-entropy or focal loss; the loss of a row is the mean over the labels.

    The loss of a label that applies is multiplied by its weight, as by `pos_weight` of torch's `BCEWithLogitsLoss`.
    `val_loss` is the binary cross-entropy with these weights.

    Args:
        settings: the settings of the job.
        weights: [labels], see `compute_label_weights`.
    """

    constant_prediction = "val's label frequencies"
    pos_weight: Tensor

    def __init__(self, settings: JobSettings, weights: Sequence[float]) -> None:
        super().__init__()
        self.settings, self.link, self._weights = settings, Sigmoid(), list(weights)
        self.register_buffer("pos_weight", torch.tensor(weights, dtype=torch.float32), persistent=False)

    @classmethod
    def make(cls, settings: JobSettings, train: EncodedSplit, target: LabelSets) -> Self:
        return cls(settings, compute_label_weights(settings, train, target))

    @classmethod
    def make_link(cls, target: LabelSets) -> Sigmoid:
        return Sigmoid()

    def row_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        losses = self._label_losses(outputs, labels)
        if self.settings.loss == "focal":
            losses = losses * self._focal_factors(outputs, labels)
        return losses.mean(dim=1)

    def _label_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted binary cross-entropy [rows, labels] float32."""
        logits, weight = outputs.float(), self.pos_weight.to(outputs.device)
        return F.binary_cross_entropy_with_logits(logits, labels.float(), pos_weight=weight, reduction="none")

    def _focal_factors(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return (1 - p)^gamma of the probability p of the true value of each label (Lin et al. 2017)."""
        complement = (outputs.float() * (1 - 2 * labels.float())).sigmoid()
        # x^gamma with gamma below 1 has an infinite gradient at x = 0.
        return complement.clamp(min=torch.finfo(torch.float32).eps) ** self.settings.focal_gamma

    def row_weights(self, labels: Tensor) -> Tensor:
        return torch.ones(len(labels), device=labels.device)

    def validation_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self._label_losses(outputs, labels).mean()

    def constant_loss(self, labels: np.ndarray) -> float:
        """Return the loss of the best constant probability of each label: w r / (w r + 1 - r) for the rate r."""
        weights, rates = self.pos_weight.double().cpu().numpy(), (labels == 1).mean(axis=0)
        present, absent = weights * rates, 1 - rates
        total = np.where(present + absent > 0, present + absent, 1)
        terms = [part * -np.log(np.where(part > 0, part, total) / total) for part in (present, absent)]
        return float(sum(terms).mean())

    def summary(self) -> dict[str, Any]:
        return {"class_weights": self._weights}


def compute_label_weights(settings: JobSettings, train: EncodedSplit, target: LabelSets) -> list[float]:
    """Return the weight of the rows that each label applies to: the setting's, balanced weights, or 1.

    The balanced weight of a label is the rows without it divided by the rows with it, so that both count the same; 1
    for a label that all rows have, or none.

    Raises:
        errors.DataError: the number of weights is not that of the labels, or see `weights_of_classes`.
    """
    labels, given = target.labels, settings.class_weights
    if given is None:
        return [1.0] * len(labels)
    if given == "balanced":
        weights = _balance_weights(train)
    elif isinstance(given, dict):
        weights = weights_of_classes(given, LabelMap("", labels))
    else:
        weights = list(given)
        if len(weights) != len(labels):
            problem = target_errors.wrong_length_for_labels(
                "class_weights", weights, len(weights), len(labels), "train"
            )
            raise errors.DataError([problem])
    log.info("class_weights: %s", list_names([f"'{name}' {w:.6g}" for name, w in zip(labels, weights, strict=True)]))
    return weights


def _balance_weights(train: EncodedSplit) -> list[float]:
    if train.labels is None:
        raise ValueError("balanced class weights need labels")
    present = (train.labels == 1).sum(axis=0)
    varies = (present > 0) & (present < len(train))
    weights: list[float] = np.where(varies, (len(train) - present) / np.maximum(present, 1), 1.0).tolist()
    return weights
