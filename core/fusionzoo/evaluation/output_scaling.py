"""Temperature and vector scaling: calibrate the outputs of a network on rows that it was not trained on.

Guo et al. 2017, "On Calibration of Modern Neural Networks" (arXiv 1706.04599): outputs are divided by one temperature,
or each output has a scale and a bias of its own. The log-loss of the rows is minimized, without class weights, because
a calibrated probability is a frequency of the data; of a regression, the loss of the job.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fusionzoo.data.targets.numeric_target import MEDIAN, NumericTarget
from fusionzoo.data.targets.score_rules import OutputScaling
from fusionzoo.errors.wording import pluralize

Method = Literal["temperature", "vector"]
Values = NDArray[np.float64]
Loss = Callable[[Values, np.ndarray], tuple[float, Values]]
"""From outputs [rows, outputs] and labels to the mean loss, and its gradient with respect to the outputs."""
LossName = Literal["log_loss", "loss"]

MIN_ROWS = 20
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
MAX_BIAS = 20.0
FOLDS = 5
MAX_CELLS = 2**22  # more rows would not change the few numbers that are fitted
NONE_FITTED = OutputScaling((1.0,), (0.0,))


@dataclass(frozen=True)
class ScalingLoss:
    """What a scaling minimizes.

    Attributes:
        name: `log_loss`, or `loss` for that of a regression.
        compute: the loss.
        why_sharp: what it means if the outputs cannot be large enough, as part of a sentence.
    """

    name: LossName
    compute: Loss
    why_sharp: str

    @property
    def title(self) -> str:
        """The name in a sentence."""
        return self.name.replace("_", "-")


@dataclass(frozen=True)
class ScalingFit:
    """A scaling of outputs, or the reason why there is none.

    Attributes:
        method: how the outputs are scaled.
        loss: what was minimized.
        scaling: None if the outputs stay as they are.
        reason: why `scaling` is None, as part of a sentence; else None.
        held_out: the loss of rows that the scaling was not fitted on, before and after, if that was measured.
    """

    method: Method
    loss: ScalingLoss
    scaling: OutputScaling | None
    reason: str | None = None
    held_out: tuple[float, float] | None = None

    def describe(self) -> str:
        """Return one sentence for the log."""
        if self.scaling is None or self.held_out is None:
            return f"No calibration: {self.reason}."
        number = f"{self.method} {1 / self.scaling.scales[0]:.4g}" if self.method == "temperature" else self.method
        before, after = self.held_out
        falls = f"falls from {before:.6g} to {after:.6g}"
        return f"Calibration: {number}; the {self.loss.title} of held-out rows of val {falls}."

    def as_json(self) -> dict[str, Any]:
        """Return the entry of metrics.json, as plain values."""
        before, after = self.held_out or (None, None)
        scaling = self.scaling or NONE_FITTED
        return {
            "method": self.method,
            "is_kept": self.scaling is not None,
            "reason": self.reason,
            "temperature": 1 / scaling.scales[0] if self.method == "temperature" else None,
            "scales": list(scaling.scales),
            "biases": list(scaling.biases),
            "cross_validation": {f"{self.loss.name}_before": before, f"{self.loss.name}_after": after},
        }


def softmax_loss(outputs: Values, labels: np.ndarray) -> tuple[float, Values]:
    """Return the mean log-loss of class indices [rows], and its gradient [rows, classes]."""
    from scipy.special import log_softmax

    log_p, rows = log_softmax(outputs, axis=1), np.arange(len(labels))
    gradient = np.exp(log_p)
    gradient[rows, labels] -= 1
    return float(-log_p[rows, labels].mean()), gradient / len(labels)


def sigmoid_loss(outputs: Values, labels: np.ndarray) -> tuple[float, Values]:
    """Return the mean log-loss of 0 or 1 [rows, labels], over all pairs, and its gradient [rows, labels]."""
    from scipy.special import expit

    losses = np.logaddexp(0, outputs) - outputs * labels
    return float(losses.mean()), (expit(outputs) - labels) / labels.size


def make_number_loss(name: str, huber_delta: float, target: NumericTarget) -> Loss:
    """Return the loss of a regression, as `fusionzoo.tasks.number_objective` defines it, for numbers [rows, columns].

    The outputs [rows, columns * quantiles] are on the standardized scale, the numbers in the units of the data.
    """
    quantiles = np.array(target.quantiles or (MEDIAN,))
    levels = np.tile(quantiles, len(target.scales))

    def compute(outputs: Values, labels: np.ndarray) -> tuple[float, Values]:
        errors = np.repeat(target.standardize(labels), len(quantiles), axis=1) - outputs
        if name == "mse":
            losses, slopes = errors**2, 2 * errors
        elif name == "mae":
            losses, slopes = np.abs(errors), np.sign(errors)
        elif name == "huber":
            slopes = np.clip(errors, -huber_delta, huber_delta)
            losses = slopes * (errors - slopes / 2)
        else:
            slopes = np.where(errors > 0, levels, levels - 1)
            losses = slopes * errors
        return float(losses.mean()), -slopes / errors.size

    return compute


def fit_scaling(outputs: np.ndarray, labels: np.ndarray, loss: ScalingLoss, method: Method) -> ScalingFit:
    """Fit a scaling on outputs [rows, outputs] of labeled rows.

    It is kept only if it lowers the loss of rows that it was not fitted on (cross-validation with 5 folds). Of many
    rows a random part is used, the same in each call.
    """
    if reason := _find_obstacle(outputs, labels):
        return ScalingFit(method, loss, None, reason)
    rows = np.random.default_rng(0).permutation(len(labels))[: max(MIN_ROWS, MAX_CELLS // outputs.shape[1])]
    values, known = outputs[rows].astype(np.float64), labels[rows]
    fit = fit_temperature if method == "temperature" else fit_vector
    if fit_temperature(values, known, loss.compute).scales[0] >= 1 / MIN_TEMPERATURE:
        reason = f"the {loss.title} of val falls down to a temperature of {MIN_TEMPERATURE}: {loss.why_sharp}"
        return ScalingFit(method, loss, None, reason)
    held_out = _cross_validate(values, known, loss.compute, fit)
    if held_out[1] >= held_out[0]:
        reason = f"the {loss.title} of held-out rows of val would not fall: {held_out[0]:.6g} to {held_out[1]:.6g}"
        return ScalingFit(method, loss, None, reason, held_out)
    return ScalingFit(method, loss, fit(values, known, loss.compute), None, held_out)


def fit_temperature(outputs: Values, labels: np.ndarray, loss: Loss) -> OutputScaling:
    """Return the temperature with the minimum loss, from `MIN_TEMPERATURE` to `MAX_TEMPERATURE`."""
    from scipy.optimize import brentq

    def slope(log_scale: float) -> float:
        return float((loss(outputs * math.exp(log_scale), labels)[1] * outputs).sum())

    lowest, highest = -math.log(MAX_TEMPERATURE), -math.log(MIN_TEMPERATURE)
    if slope(lowest) >= 0:
        return OutputScaling((1 / MAX_TEMPERATURE,), (0.0,))
    if slope(highest) <= 0:
        return OutputScaling((1 / MIN_TEMPERATURE,), (0.0,))
    return OutputScaling((math.exp(brentq(slope, lowest, highest, xtol=1e-9)),), (0.0,))


def fit_vector(outputs: Values, labels: np.ndarray, loss: Loss) -> OutputScaling:
    """Return a scale and a bias for each output with the minimum loss.

    The loss has an L2 penalty on the difference from the best temperature, as scikit-learn's LogisticRegression with
    C=1 has one on its coefficients: without it, an output that is never or always right would need an infinite bias.
    """
    from scipy.optimize import minimize

    rows, count = outputs.shape
    temperature = fit_temperature(outputs, labels, loss).scales[0]
    scaled, start = outputs * temperature, np.repeat([1.0, 0.0], count)

    def penalized(parameters: Values) -> tuple[float, Values]:
        scales, biases = parameters[:count], parameters[count:]
        value, gradient = loss(scaled * scales + biases, labels)
        distance = (parameters - start) / rows
        return (
            value + float(distance @ (parameters - start)) / 2,
            np.concatenate([(gradient * scaled).sum(axis=0), gradient.sum(axis=0)]) + distance,
        )

    scale_bounds = (1 / MAX_TEMPERATURE / temperature, 1 / MIN_TEMPERATURE / temperature)
    bounds = [scale_bounds] * count + [(-MAX_BIAS, MAX_BIAS)] * count
    best = minimize(penalized, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return OutputScaling(tuple((best[:count] * temperature).tolist()), tuple(best[count:].tolist()))


def _find_obstacle(outputs: np.ndarray, labels: np.ndarray) -> str | None:
    """Return why no scaling can be fitted, as part of a sentence; None if there is no obstacle."""
    if len(labels) < MIN_ROWS:
        return f"val has {pluralize(len(labels), 'row')}, and at least {MIN_ROWS} are needed"
    if (labels == labels[0]).all():
        return "all rows of val have the same label"
    if not np.isfinite(outputs).all():
        return "outputs of the model are not finite"
    return None


def _cross_validate(
    outputs: Values, labels: np.ndarray, loss: Loss, fit: Callable[[Values, np.ndarray, Loss], OutputScaling]
) -> tuple[float, float]:
    """Return the mean loss of all rows before the scaling, and after one that was fitted on the other folds."""
    fold = np.arange(len(labels)) % FOLDS  # the rows are in random order
    before = after = 0.0
    for k in range(FOLDS):
        is_held_out = fold == k
        scaling = fit(outputs[~is_held_out], labels[~is_held_out], loss)
        share = float(is_held_out.mean())
        before += share * loss(outputs[is_held_out], labels[is_held_out])[0]
        after += share * loss(scaling.apply(outputs[is_held_out]), labels[is_held_out])[0]
    return before, after
