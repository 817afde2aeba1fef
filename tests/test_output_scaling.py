"""Temperature and vector scaling: what is fitted, when it is kept, and how it is applied."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize, minimize_scalar
from sklearn.metrics import log_loss

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.score_rules import OutputScaling, ScoreRules, restore_score_rules
from fusionzoo.evaluation.output_scaling import (
    MIN_ROWS,
    MIN_TEMPERATURE,
    ScalingLoss,
    fit_scaling,
    fit_temperature,
    fit_vector,
    sigmoid_loss,
    softmax_loss,
)
from fusionzoo.nn.inference import apply_link
from fusionzoo.tasks.classification import Classification
from fusionzoo.tasks.objectives import make_link

LOSSES = {"softmax": softmax_loss, "sigmoid": sigmoid_loss}
NAMED = {kind: ScalingLoss("log_loss", loss, "too few wrong rows") for kind, loss in LOSSES.items()}


def softmax(outputs: np.ndarray) -> np.ndarray:
    return torch.from_numpy(outputs).double().softmax(dim=1).numpy()


def draw(kind: str, rows: int, outputs: int, scale: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs, and labels drawn from the probabilities of scale * outputs: the temperature is 1 / scale."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 3, (rows, outputs))
    if kind == "sigmoid":
        return values, (rng.random(values.shape) < 1 / (1 + np.exp(-scale * values))).astype(np.int8)
    cumulative = softmax(scale * values).cumsum(axis=1)
    return values, (rng.random((rows, 1)) > cumulative[:, :-1]).sum(axis=1)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.5])
@pytest.mark.parametrize("outputs", [2, 5])
def test_the_temperature_has_the_minimum_log_loss(kind: str, scale: float, outputs: int) -> None:
    values, labels = draw(kind, 3000, outputs, scale)
    fitted = fit_temperature(values, labels, LOSSES[kind]).scales[0]
    best = minimize_scalar(lambda s: LOSSES[kind](values * s, labels)[0], bounds=(0.05, 20), method="bounded")
    assert fitted == pytest.approx(best.x, rel=1e-4)
    assert fitted == pytest.approx(scale, rel=0.1)


@pytest.mark.parametrize("kind", LOSSES)
def test_the_loss_is_the_log_loss_and_its_gradient(kind: str) -> None:
    values, labels = draw(kind, 7, 3, 1.0)
    loss, gradient = LOSSES[kind](values, labels)
    if kind == "softmax":
        assert loss == pytest.approx(log_loss(labels, softmax(values), labels=range(3)), rel=1e-9)
    else:
        each = [log_loss(labels[:, k], 1 / (1 + np.exp(-values[:, k])), labels=[0, 1]) for k in range(3)]
        assert loss == pytest.approx(np.mean(each), rel=1e-9)
    for place in [(0, 0), (3, 2), (6, 1)]:
        step = np.zeros_like(values)
        step[place] = 1e-6
        slope = (LOSSES[kind](values + step, labels)[0] - LOSSES[kind](values - step, labels)[0]) / 2e-6
        assert gradient[place] == pytest.approx(slope, abs=1e-8)


@pytest.mark.parametrize("kind", LOSSES)
def test_vector_scaling_has_the_minimum_penalized_log_loss(kind: str) -> None:
    scales, biases = np.array([0.5, 1.0, 2.0]), np.array([0.7, 0.0, -0.7])
    values, labels = draw(kind, 4000, 3, 1.0)
    values = (values - biases) / scales
    temperature = fit_temperature(values, labels, LOSSES[kind]).scales[0]

    def penalized(parameters: np.ndarray) -> float:
        distance = np.concatenate([parameters[:3] / temperature - 1, parameters[3:]])
        scaled = values * parameters[:3] + parameters[3:]
        return LOSSES[kind](scaled, labels)[0] + float(distance @ distance) / 2 / len(labels)

    start = np.concatenate([np.full(3, temperature), np.zeros(3)])
    best = minimize(penalized, start, method="BFGS", options={"gtol": 1e-7})
    fitted = fit_vector(values, labels, LOSSES[kind])
    assert penalized(np.array([*fitted.scales, *fitted.biases])) == pytest.approx(best.fun, abs=1e-6)
    assert np.allclose(fitted.scales, scales, rtol=0.15)
    assert np.allclose(np.diff(fitted.biases), np.diff(biases), atol=0.2)  # softmax ignores a shift of all biases


@pytest.mark.parametrize("method", ["temperature", "vector"])
@pytest.mark.parametrize("kind", LOSSES)
def test_a_scaling_is_kept_only_if_the_log_loss_of_held_out_rows_falls(kind: str, method: str) -> None:
    kept = fit_scaling(*draw(kind, 500, 3, 0.3), NAMED[kind], method)  # type: ignore[arg-type]
    assert kept.scaling is not None
    assert kept.held_out is not None
    assert kept.held_out[1] < kept.held_out[0]
    refused = fit_scaling(*draw(kind, 60, 3, 1.0, seed=2), NAMED[kind], method)  # type: ignore[arg-type]
    assert refused.scaling is None
    assert refused.held_out is not None
    assert refused.held_out[1] >= refused.held_out[0]
    assert "would not fall" in refused.describe()


def test_the_fit_is_the_same_in_each_call_and_in_float32() -> None:
    values, labels = draw("softmax", 300, 4, 0.4)
    first, again = (fit_scaling(values.astype(np.float32), labels, NAMED["softmax"], "vector") for _ in range(2))
    assert first == again


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_values_that_define_no_calibration_are_explained(method: str) -> None:
    values, labels = draw("softmax", 100, 2, 0.3)
    right = np.eye(2)[labels] * 4
    invalid = np.where(np.arange(100)[:, None] == 7, np.nan, values)
    few = MIN_ROWS - 1
    for outputs, truth, reason in [
        (values[:few], labels[:few], f"val has {few} rows"),
        (values, np.ones(100, int), "the same label"),
        (right, labels, "too few wrong rows"),
        (invalid, labels, "not finite"),
        (values[:0], labels[:0], "val has 0 rows"),
    ]:
        fit = fit_scaling(outputs, truth, NAMED["softmax"], method)  # type: ignore[arg-type]
        assert fit.scaling is None
        assert fit.reason is not None
        assert reason in fit.reason
        assert fit.as_json()["is_kept"] is False
        assert fit.as_json()["scales"] == [1.0]


def test_outputs_that_say_nothing_give_the_maximum_temperature() -> None:
    values, labels = draw("softmax", 400, 2, -1.0)  # a higher output means a lower probability
    fit = fit_scaling(values, labels, NAMED["softmax"], "temperature")
    assert fit.scaling is not None
    assert fit.scaling.scales[0] == pytest.approx(MIN_TEMPERATURE)


def test_a_class_without_rows_keeps_a_finite_bias() -> None:
    values, labels = draw("softmax", 400, 4, 0.3)
    values, labels = values[labels != 3], labels[labels != 3]
    fit = fit_scaling(values, labels, NAMED["softmax"], "vector")
    assert fit.scaling is not None
    assert -20 < min(fit.scaling.biases) < 0


@pytest.mark.parametrize("scaling", [OutputScaling((0.5,), (0.0,)), OutputScaling((0.5, 2.0, 1.0), (1.0, 0.0, -1.0))])
def test_the_link_of_a_task_scales_the_outputs(scaling: OutputScaling) -> None:
    outputs = np.random.default_rng(0).normal(size=(2**14 + 3, 3)).astype(np.float32)
    plain = Classification(LabelMap("y", (0, 1, 2)))
    task = Classification(plain.target, restore_score_rules(ScoreRules(scaling).as_json()))
    assert task.rules == ScoreRules(scaling)
    assert np.abs(apply_link(make_link(task), outputs) - softmax(scaling.apply(outputs))).max() < 1e-6
    assert np.abs(apply_link(make_link(plain), outputs) - softmax(outputs)).max() < 1e-6
