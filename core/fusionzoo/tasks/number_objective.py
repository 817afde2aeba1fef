"""The objective of a regression: losses on the standardized target, and the link back to the units of the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.targets.numeric_target import NumericTarget
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.objective import Link, Objective

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_EXPONENT = 80.0  # e^88 exceeds float32


class NumberLink(Link):
    """Standardized outputs to numbers in the units of the data.

    Quantiles of a row are sorted, so that they never cross (Chernozhukov et al. 2010, "Quantile and Probability Curves
    Without Crossing").
    """

    output = "predictions"
    means: Tensor
    stds: Tensor

    def __init__(self, target: NumericTarget) -> None:
        super().__init__()
        self._quantiles, self._is_log = max(1, len(target.quantiles)), target.transform == "log1p"
        for name, values in (("means", [s.mean for s in target.scales]), ("stds", [s.std for s in target.scales])):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        values = outputs.float().reshape(-1, len(self.means), self._quantiles)
        if self._quantiles > 1:
            values = values.sort(dim=-1).values
        values = values * self.stds[:, None] + self.means[:, None]
        if self._is_log:
            values = _expm1(values.clamp(max=MAX_EXPONENT))
        return values.reshape(-1, len(self.means) * self._quantiles)

    def difference(self, scores: np.ndarray, expected: np.ndarray) -> float:
        """Return the largest difference relative to the number and to the spread of the target in train."""
        spread = np.repeat(self.stds.cpu().numpy(), self._quantiles)
        if self._is_log:  # of the number: the derivative of its transform; at most 1, so that small numbers count too
            spread = np.minimum(1, spread * np.exp(np.minimum(np.repeat(self.means.cpu().numpy(), self._quantiles), 0)))
        return float((np.abs(scores - expected) / (np.abs(expected) + spread)).max())


def _expm1(values: Tensor) -> Tensor:
    """Return e^values - 1 without cancellation near 0. ONNX has no operator for it."""
    return (values / 2).tanh() * (values.exp() + 1)


class NumberObjective(Objective):
    """Mean squared, absolute, Huber or quantile (pinball) loss; a row's loss is the mean over its outputs.

    `val_loss` is the training loss, because the losses predict different things: a mean, a median, or quantiles.

    Args:
        settings: the settings of the job.
        target: the fitted target.
    """

    constant_prediction = "val's best single number"
    quantiles: Tensor

    def __init__(self, settings: JobSettings, target: NumericTarget) -> None:
        super().__init__()
        self._loss, self._delta = settings.loss or "mse", settings.huber_delta
        self._target, self.link = target, NumberLink(target)
        quantiles = torch.tensor(target.quantiles or [0.5], dtype=torch.float32)
        self.register_buffer("quantiles", quantiles, persistent=False)

    @classmethod
    def make(cls, settings: JobSettings, train: EncodedSplit, target: NumericTarget) -> Self:
        return cls(settings, target)

    @classmethod
    def make_link(cls, target: NumericTarget) -> NumberLink:
        return NumberLink(target)

    def row_losses(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the losses of outputs [rows, outputs] on the standardized scale for labels in the units of the data.

        Huber (1964): quadratic below `huber_delta` standard deviations, linear above. Pinball: Koenker and Bassett
        (1978).
        """
        errors = self._standardize(labels)[:, :, None] - outputs.float().reshape(len(labels), -1, len(self.quantiles))
        return self._output_losses(errors).flatten(1).mean(dim=1)

    def _output_losses(self, errors: Tensor) -> Tensor:
        if self._loss == "mse":
            return errors.square()
        if self._loss == "mae":
            return errors.abs()
        if self._loss == "huber":
            size = errors.abs()
            return torch.where(size <= self._delta, 0.5 * errors.square(), self._delta * (size - 0.5 * self._delta))
        return torch.maximum(self.quantiles * errors, (self.quantiles - 1) * errors)

    def _standardize(self, labels: Tensor) -> Tensor:
        values = labels.double()  # before the mean is subtracted, numbers such as timestamps exceed float32
        values = values.log1p() if self._target.transform == "log1p" else values
        means, stds = (
            torch.tensor([getattr(scale, name) for scale in self._target.scales], dtype=torch.float64)
            for name in ("mean", "std")
        )
        return ((values - means.to(values.device)) / stds.to(values.device)).float()

    def row_weights(self, labels: Tensor) -> Tensor:
        return torch.ones(len(labels), device=labels.device)

    def validation_loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        return self.row_losses(outputs, labels).mean()

    def constant_loss(self, labels: np.ndarray) -> float:
        standardized = self._target.standardize(labels)
        constants = np.stack([self._best_constants(column) for column in standardized.T])
        errors = torch.from_numpy(standardized[:, :, None] - constants).float().to(self.quantiles.device)
        return float(self._output_losses(errors).mean())

    def _best_constants(self, values: np.ndarray) -> np.ndarray:
        """Return the constants with the minimum loss on values [rows], one for each output."""
        if self._loss == "mse":
            return np.array([values.mean()])
        if self._loss == "huber":
            from scipy.optimize import minimize_scalar

            def loss_of(constant: float) -> float:
                return float(self._output_losses(torch.from_numpy(values - constant)).mean())

            best = minimize_scalar(loss_of, bounds=(values.min(), values.max()), method="bounded")
            return np.array([best.x])
        quantiles: np.ndarray = np.quantile(values, self.quantiles.cpu().numpy())
        return quantiles

    def summary(self) -> dict[str, Any]:
        return {"target": self._target.as_json()}
