"""The calibration of a regression: what is minimized, what it repairs, and where it is applied."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score

from fusionzoo.data.targets.numeric_target import NumericTarget, TargetScale
from fusionzoo.data.targets.score_rules import ScoreRules, restore_score_rules
from fusionzoo.evaluation.output_scaling import ScalingFit, ScalingLoss, fit_scaling, make_number_loss
from fusionzoo.nn.inference import apply_link
from fusionzoo.serving.predictor import Predictor
from fusionzoo.settings import JobSettings
from fusionzoo.tasks.number_objective import NumberObjective
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.regression import Regression
from shop import JobFolder, shop_rows

ONE = NumericTarget((TargetScale("price", 50.0, 20.0),))
TWO = NumericTarget((TargetScale("price", 50.0, 20.0), TargetScale("weight", -3.0, 0.5)))
QUANTILES = (0.1, 0.5, 0.9)
JOB: dict[str, Any] = {"model_class": "m", "id_name": "id", "label_name": "y", "task": "regression"}


def make_loss(target: NumericTarget, **settings: Any) -> ScalingLoss:
    return Regression(target).make_scaling_loss(JobSettings(**JOB, **settings))


def draw(rows: int, factor: float, shift: float = 0.0, target: NumericTarget = ONE) -> tuple[np.ndarray, np.ndarray]:
    """Return outputs that are `factor` times too far from the mean and `shift` deviations too high, and the labels."""
    rng = np.random.default_rng(0)
    means = rng.normal(0, 0.6, (rows, len(target.scales)))
    scale, mean = (np.array([getattr(s, name) for s in target.scales]) for name in ("std", "mean"))
    labels = mean + scale * (means + rng.normal(0, 0.8, means.shape))
    return factor * means + shift, labels


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "quantile"])
@pytest.mark.parametrize("transform", [None, "log1p"])
def test_the_loss_is_that_of_the_training_and_has_its_gradient(loss: str, transform: Any) -> None:
    target = NumericTarget(TWO.scales, transform, QUANTILES if loss == "quantile" else ())
    rng = np.random.default_rng(1)
    labels, outputs = rng.uniform(0, 90, (9, 2)), rng.normal(size=(9, target.num_outputs))
    objective = NumberObjective(JobSettings(**JOB, loss=loss, huber_delta=0.7), target)
    value, gradient = make_number_loss(loss, 0.7, target)(outputs, labels)
    predicted = torch.tensor(outputs, requires_grad=True)
    expected = objective.validation_loss(predicted, torch.from_numpy(labels))
    expected.backward()
    assert predicted.grad is not None
    assert value == pytest.approx(expected.item(), rel=1e-5)
    assert gradient == pytest.approx(predicted.grad.numpy(), rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("loss", ["mse", "mae", "huber"])
@pytest.mark.parametrize("factor", [0.5, 1.5])
def test_a_temperature_moves_numbers_to_their_distance_from_the_mean(loss: str, factor: float) -> None:
    fit = fit_scaling(*draw(4_000, factor), make_loss(ONE, loss=loss), "temperature")
    assert fit.scaling is not None
    assert fit.scaling.scales[0] == pytest.approx(1 / factor, rel=0.1)
    assert fit.scaling.biases == (0.0,)


def test_vector_scaling_of_two_numbers_repairs_scale_and_mean_of_each() -> None:
    outputs, labels = draw(4_000, 1.0, target=TWO)
    outputs = outputs * [2.0, 0.5] + [0.4, -0.3]
    fit = fit_scaling(outputs, labels, make_loss(TWO), "vector")
    assert fit.scaling is not None
    assert fit.scaling.scales == pytest.approx((0.5, 2.0), rel=0.1)
    assert fit.scaling.biases == pytest.approx((-0.2, 0.6), abs=0.06)


def test_vector_scaling_of_quantiles_gives_each_its_share_of_the_rows() -> None:
    target = NumericTarget(ONE.scales, None, QUANTILES)
    outputs, labels = draw(6_000, 1.0)
    narrow = outputs + np.array([-0.2, 0.3, 0.2])
    fit = fit_scaling(narrow, labels, make_loss(target, loss="quantile", quantiles=list(QUANTILES)), "vector")
    assert fit.scaling is not None
    shares = (target.standardize(labels) <= fit.scaling.apply(narrow)).mean(axis=0)
    assert shares == pytest.approx(QUANTILES, abs=0.02)


@pytest.mark.parametrize("method", ["temperature", "vector"])
def test_numbers_that_are_right_stay_as_they_are(method: Any) -> None:
    fit = fit_scaling(*draw(300, 1.0), make_loss(ONE), method)
    assert fit.scaling is None
    assert "the loss of held-out rows of val would not fall" in fit.describe()


@pytest.mark.parametrize(
    ("outputs", "labels", "reason"),
    [
        (np.ones((19, 1)), np.arange(19.0)[:, None], "val has 19 rows"),
        (np.ones((30, 1)), np.full((30, 1), 7.0), "the same label"),
        (np.linspace(-1e-3, 1e-3, 50)[:, None], np.linspace(10, 90, 50)[:, None], "hardly vary"),
        (np.full((30, 1), np.nan), np.arange(30.0)[:, None], "not finite"),
    ],
)
def test_values_that_define_no_calibration_are_explained(outputs: np.ndarray, labels: np.ndarray, reason: str) -> None:
    fit = fit_scaling(outputs, labels, make_loss(ONE), "temperature")
    assert fit.scaling is None
    assert reason in fit.describe()


@pytest.mark.parametrize("transform", [None, "log1p"])
def test_the_link_scales_before_it_returns_to_the_units_of_the_data(transform: Any) -> None:
    target = NumericTarget(TWO.scales, transform)
    outputs, labels = draw(500, 1.6, target=TWO)
    fit: ScalingFit = fit_scaling(outputs, np.abs(labels), make_loss(target), "vector")
    assert fit.scaling is not None
    task = Regression(target, restore_score_rules(ScoreRules(fit.scaling).as_json()))
    expected = target.restore_units(fit.scaling.apply(outputs))
    assert apply_link(make_link(task), outputs.astype(np.float32)) == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_a_job_calibrates_its_numbers_and_they_are_the_same_everywhere(tmp_path: Path) -> None:
    job = JobFolder(tmp_path)
    for seed, (name, rows) in enumerate({"train": 160, "val": 120, "test": 40}.items()):
        frame = shop_rows(rows, seed)
        frame["target"] = frame["visits"] * (2.0 if name == "train" else 3.0)  # a visit has become more expensive
        job.channel(name, frame)
    job.settings(task="regression", num_classes=None, calibration="vector", onnx="required")
    assert job.run() == 0
    report = json.loads((job.output / "metrics.json").read_text())
    calibration = report["calibration"]
    assert calibration["is_kept"], calibration["reason"]
    assert calibration["cross_validation"]["loss_after"] < calibration["cross_validation"]["loss_before"]
    for name, split in report["splits"].items():
        for metric in ("rmse", "mae", "r2"):
            assert calibration["splits"][name][metric]["after"] == split["metrics"][metric]
        assert calibration["splits"][name]["rmse"]["after"] < calibration["splits"][name]["rmse"]["before"]
    written = pd.read_parquet(job.output / "test_predictions.parquet")["predicted_target"]
    served = Predictor.load(job.model).predict(frame)["predicted_target"]
    assert served.to_numpy() == pytest.approx(written.to_numpy(), rel=1e-5)
    assert r2_score(frame["target"], served) == pytest.approx(report["splits"]["test"]["metrics"]["r2"], abs=1e-5)
    assert json.loads((job.model / "manifest.json").read_text())["calibration"]["scales"] == calibration["scales"]
