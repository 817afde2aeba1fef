"""Metrics that are computed while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fusionzoo.evaluation.metric_directions import LOSS_METRIC, val_metric
from fusionzoo.tasks.objective import Objective

MetricsFunction = Callable[[np.ndarray, np.ndarray], Mapping[str, float | None]]
"""Returns metrics by name from labels and scores; None for an undefined one."""


class ValidationMetrics(Metric):
    """Computes the metrics of a split with the functions of the final evaluation, over all batches and processes.

    Args:
        objective: the validation loss and the link.
        compute_metrics: returns the metrics of labels and scores.
    """

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, objective: Objective, compute_metrics: MetricsFunction) -> None:
        super().__init__()
        self._objective, self._compute_metrics = (objective,), compute_metrics  # in a tuple: not a part of this module
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch of labeled rows: logits [rows, outputs], and encoded labels."""
        self.logits.append(logits.float())
        self.labels.append(labels)

    def compute(self) -> dict[str, float]:
        """Return `val_loss`, and `val/<metric>` for each metric that the rows define."""
        logits, labels = dim_zero_cat(self.logits), dim_zero_cat(self.labels)
        (objective,) = self._objective
        loss = objective.validation_loss(logits, labels)
        metrics = self._compute_metrics(labels.cpu().numpy(), objective.link(logits).cpu().numpy())
        defined = {val_metric(name): value for name, value in metrics.items() if value is not None}
        return {LOSS_METRIC: float(loss), **defined}


class WeightedMeans:
    """Means over rows of named scalars; the sums stay on the device until `take`.

    The means cover this process since it started: after resuming, they cover the rest of the epoch. torchmetrics'
    MeanMetric and `LightningModule.log` are 9 and 190 times slower per step: see docs/decisions/progress-callbacks.md.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, means: Mapping[str, Tensor], rows: int) -> None:
        """Add the means [] of a batch over its rows. Without rows, means are not numbers, and add nothing."""
        if not rows:
            return
        for name, mean in means.items():
            total = mean.detach().float() * rows
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._rows[name] = self._rows.get(name, 0) + rows

    def take(self) -> dict[str, Tensor]:
        """Return the means since the last call, and start again."""
        means = {name: total / self._rows[name] for name, total in self._sums.items()}
        self._sums, self._rows = {}, {}
        return means
