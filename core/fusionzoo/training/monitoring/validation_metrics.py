"""Validation figures while training: the same computation as the final evaluation, over all rows of the split."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fusionzoo.evaluation.metrics import classification_metrics


class ValidationMetrics(Metric):
    """Gathers a split's probabilities, labels and losses, over batches and processes."""

    full_state_update = False
    probabilities: list[Tensor]
    labels: list[Tensor]
    losses: list[Tensor]
    weights: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("probabilities", "labels", "losses", "weights"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor, class_weights: Tensor) -> None:
        """Add a batch: logits [rows, classes], labels [rows], the loss weight of each class [classes]."""
        logits = logits.float()
        self.probabilities.append(logits.softmax(dim=-1))
        self.labels.append(labels)
        self.losses.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
        self.weights.append(class_weights[labels])

    def compute(self) -> dict[str, float]:
        """`val_loss`, weighted as the training loss, and `val/<metric>` for each figure that the rows define."""
        losses, weights = dim_zero_cat(self.losses), dim_zero_cat(self.weights)
        scores = dim_zero_cat(self.probabilities).cpu().numpy()
        metrics = classification_metrics(dim_zero_cat(self.labels).cpu().numpy(), scores)
        loss = float((losses * weights).sum() / weights.sum())
        return {"val_loss": loss, **{f"val/{name}": value for name, value in metrics.items() if value is not None}}


class WeightedMeans:
    """Means over rows of named scalars that batches come with; sums stay on their device until they are taken.

    They are of this process, and since it started: a resumed job has those of the rest of its epoch.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, metrics: Mapping[str, Tensor], rows: int) -> None:
        """Add a batch's means over its rows, scalars []."""
        for name, figure in metrics.items():
            part = figure.detach().float() * rows
            self._sums[name] = self._sums[name] + part if name in self._sums else part
            self._rows[name] = self._rows.get(name, 0) + rows

    def take(self) -> dict[str, Tensor]:
        """The means of what was added since the last time."""
        means = {name: total / self._rows[name] for name, total in self._sums.items()}
        self._sums, self._rows = {}, {}
        return means
