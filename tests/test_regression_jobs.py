"""A regression job: training, evaluation, prediction files, the Predictor and resuming."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fusionzoo.serving.predictor import Predictor
from fusionzoo.training.module import TrainingModule
from plot_rendering import plots_rendered
from prediction_helpers import assert_commands_reproduce
from process_helpers import run_in_child
from resume_helpers import copy_input, read_results, run_until_killed
from shop import JobFolder, shop_rows

TASK: dict[str, Any] = {
    "task": "regression",
    "num_classes": None,
    "label_name": ["amount", "weight"],
    "loss": "quantile",
    "quantiles": [0.1, 0.5, 0.9],
    "target_transform": "log1p",
    "early_stop_metric": "val/mae",
    "average_checkpoints": 2,
    "checkpoint_every_n_steps": 1,
    "max_epochs": 3,
    "lr": 0.01,
}


def order_rows(rows: int, seed: int) -> pd.DataFrame:
    """Return rows with two numbers to predict, which depend on the text and on a number."""
    frame = shop_rows(rows, seed)
    tone = frame["target"].astype(float)
    frame["amount"] = np.exp(3 + 2 * tone + 0.1 * frame["visits"])
    frame["weight"] = 5 - 2 * tone
    return frame


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A job after an uninterrupted run."""
    job = JobFolder(tmp_path_factory.mktemp("regression"))
    for seed, (name, rows) in enumerate({"train": 160, "val": 48, "test": 48}.items()):
        frame = order_rows(rows, seed)
        if name == "test":
            frame.loc[:9, "amount"] = np.nan
        job.channel(name, frame)
    job.settings(**TASK, onnx="required")
    with plots_rendered():
        assert run_in_child(job.run, job.root / "log.txt") == 0, (job.root / "log.txt").read_text()
    return job


def test_a_job_learns_numbers_and_writes_the_evaluation(finished: JobFolder) -> None:
    splits = json.loads((finished.output / "metrics.json").read_text())["splits"]
    assert splits["test"]["rows"] == 38  # those with a label
    assert splits["val"]["metrics"]["spearman"] > 0.5
    assert set(splits["val"]["quantiles"]["amount"]) == {"0.1", "0.5", "0.9"}
    plots = {path.name for path in (finished.output / "plots").iterdir()}
    assert {"val_predicted_against_true.png", "test_residuals.png"} <= plots
    log = (finished.root / "log.txt").read_text()
    assert "#metric val_rmse=" in log
    assert "best validation: val/mae" in log


def test_the_commands_reproduce_the_prediction_file_and_the_metrics(finished: JobFolder, tmp_path: Path) -> None:
    assert_commands_reproduce(finished, tmp_path, 1e-4)


def test_the_predictor_reproduces_the_prediction_file_in_the_units_of_the_data(finished: JobFolder) -> None:
    file = pd.read_parquet(finished.output / "test_predictions.parquet")
    frame = pd.read_parquet(finished.root / "input/data/test/part-00000.parquet").drop(columns=["amount", "weight"])
    predicted = Predictor.load(finished.model).predict(frame)
    assert list(file.columns) == ["id", "amount", "weight", *predicted.columns]
    assert list(predicted.columns)[:3] == ["predicted_amount_q10", "predicted_amount", "predicted_amount_q90"]
    assert np.allclose(predicted, file[predicted.columns], rtol=1e-4)
    assert file["amount"].isna().sum() == 10
    assert (predicted["predicted_amount"] > 10).all()
    assert json.loads((finished.model / "onnx_check.json").read_text())["tolerance"] == 1e-5
    results = torch.load(finished.output / "predict_results.pth", weights_only=True)
    assert results["y_pred"].shape == (48, 6)


def test_a_killed_regression_resumes_bit_identically(finished: JobFolder, tmp_path: Path) -> None:
    job = copy_input(finished, tmp_path)
    assert run_until_killed(job, TrainingModule, "training_step", 13) == -signal.SIGKILL
    assert run_in_child(job.run, job.root / "log.txt") == 0, (job.root / "log.txt").read_text()
    assert "Resuming from" in (job.root / "log.txt").read_text()
    assert read_results(job) == read_results(finished)


@pytest.mark.parametrize(("loss", "value", "is_rejected"), [("mse", 1e25, True), ("mae", 1e25, False)])
def test_a_number_that_overflows_the_loss_is_an_error_in_val_and_a_warning_in_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], loss: str, value: float, is_rejected: bool
) -> None:
    job = JobFolder(tmp_path)
    frames = {name: order_rows(rows, rows) for name, rows in {"train": 60, "val": 20, "test": 20}.items()}
    for name in ("val", "test"):
        frames[name].loc[3, "amount"] = value
    settings = {"task": "regression", "num_classes": None, "label_name": "amount", "loss": loss, "max_epochs": 1}
    for name, frame in frames.items():
        job.channel(name, frame)
    job.settings(**settings, onnx="off")
    assert job.run() == is_rejected
    if is_rejected:
        assert "val, column 'amount': 1 value is more than 1e+18 standard deviations of train away" in job.failure
        assert "val/part-00000.parquet row 4 '1e+25'" in job.failure
        assert "val_loss" not in job.failure
        assert "test, column 'amount': 1 value is more than 1e+18 standard deviations" in capsys.readouterr().out
