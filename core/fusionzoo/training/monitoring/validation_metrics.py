"""Metrics that are computed while a model trains."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from fusionzoo.evaluation.metrics import classification_metrics


class ValidationMetrics(Metric):
    """Computes the metrics of a split with the functions of the final evaluation, over all batches and processes.

    Args:
        class_weights: the loss weight of each class [classes].
    """

    full_state_update = False
    logits: list[Tensor]
    labels: list[Tensor]

    def __init__(self, class_weights: Tensor) -> None:
        super().__init__()
        self._class_weights = class_weights
        self.add_state("logits", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Add a batch: logits [rows, classes], labels [rows] int64."""
        self.logits.append(logits.float())
        self.labels.append(labels)

    def compute(self) -> dict[str, float]:
        """Return `val_loss`, weighted as the training loss, and `val/<metric>` for each metric that the rows define."""
        logits, labels = dim_zero_cat(self.logits), dim_zero_cat(self.labels)
        loss = functional.cross_entropy(logits, labels, weight=self._class_weights.to(logits.device))
        metrics = classification_metrics(labels.cpu().numpy(), logits.softmax(dim=-1).cpu().numpy())
        defined = {f"val/{name}": value for name, value in metrics.items() if value is not None}
        return {"val_loss": float(loss), **defined}


class WeightedMeans:
    """Means over rows of named scalars; the sums stay on the device until `take`.

    The means cover this process since it started: after resuming, they cover the rest of the epoch. torchmetrics'
    MeanMetric and `LightningModule.log` are 9 and 190 times slower per step: see docs/decisions/progress-callbacks.md.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows: dict[str, int] = {}

    def add(self, means: Mapping[str, Tensor], rows: int) -> None:
        """Add the means [] of a batch over its rows."""
        for name, mean in means.items():
            total = mean.detach().float() * rows
            self._sums[name] = self._sums[name] + total if name in self._sums else total
            self._rows[name] = self._rows.get(name, 0) + rows

    def take(self) -> dict[str, Tensor]:
        """Return the means since the last call, and start again."""
        means = {name: total / self._rows[name] for name, total in self._sums.items()}
        self._sums, self._rows = {}, {}
        return means
