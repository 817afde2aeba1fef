"""Jobs that calibrate and choose a decision rule on val: every way to score a row gives the same results."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.nn.inference import predict_scores
from fusionzoo.prediction.evaluate_job import EvaluateOptions, evaluate_files
from fusionzoo.serving.predictor import Predictor
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
from shop import JobFolder, shop_rows

COSTS = [[0, 9, 9], [1, 0, 1], [1, 9, 0]]
CLASSES = ("calm", "cross", "tense")
TASKS: dict[str, dict[str, Any]] = {
    "two classes": {"class_weights": "balanced", "min_recall": 0.9},
    "three classes": {"num_classes": 3, "calibration": "vector", "label_name": "mood", "cost_matrix": COSTS},
    "multilabel": {
        "task": "multilabel",
        "num_classes": None,
        "label_name": ["angry", "far"],
        "min_recall": 0.95,
    },
}


def noisy_rows(rows: int, seed: int) -> pd.DataFrame:
    """Return rows with labels that are right in 85 % of the rows, so that probabilities near 1 are wrong."""
    frame, rng = shop_rows(rows, seed), np.random.default_rng(seed + 100)
    is_wrong = rng.random(rows) < 0.15
    frame["target"] = np.where(is_wrong, 1 - frame["target"], frame["target"])
    frame["angry"] = frame["target"]
    frame["far"] = np.where(is_wrong, 0, frame["country"].isin(["it", "us"])).astype(int)
    frame["mood"] = np.array(CLASSES, dtype=object)[frame["angry"] + frame["far"]]
    return frame


@pytest.fixture(scope="module", params=TASKS)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A job whose focal loss makes it underconfident, without the n-grams' fitted scores; its calibration is kept."""
    job = JobFolder(tmp_path_factory.mktemp("calibrated"))
    for seed, (name, rows) in enumerate({"train": 160, "val": 120, "test": 40}.items()):
        job.channel(name, noisy_rows(rows, seed))
    job.settings(loss="focal", focal_gamma=4, lr=0.01, wide_ngrams=0, onnx="required", **TASKS[request.param])
    assert job.run() == 0
    return job


def read_report(job: JobFolder) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((job.output / "metrics.json").read_text())
    return report


def test_metrics_json_has_the_calibration_before_and_after(finished: JobFolder) -> None:
    report = read_report(finished)
    calibration = report["calibration"]
    assert calibration["is_kept"], calibration["reason"]
    assert calibration["cross_validation"]["log_loss_after"] < calibration["cross_validation"]["log_loss_before"]
    for name, split in report["splits"].items():
        compared = calibration["splits"][name]
        assert compared["log_loss"]["after"] == split["metrics"]["log_loss"] != compared["log_loss"]["before"]
        for bins in ("equal_width", "equal_mass"):
            assert compared[f"ece_{bins}"]["after"] == split["calibration"][bins]["expected_calibration_error"]
    assert calibration["splits"]["val"]["log_loss"]["after"] < calibration["splits"]["val"]["log_loss"]["before"]


def test_files_predictor_and_pytorch_have_the_same_calibrated_scores(finished: JobFolder) -> None:
    written = pd.read_parquet(finished.output / "test_predictions.parquet")
    columns = [name for name in written.columns if name.startswith("prob_")]
    predictor = Predictor.load(finished.model)
    served = predictor.predict_proba(noisy_rows(40, 2))
    assert np.abs(served.to_numpy() - written[columns].to_numpy()).max() < 1e-5
    model, preprocessor = load_model(finished.model)
    assert preprocessor.rules.scaling is not None
    channel = open_channel("test", finished.root / "input/data/test", preprocessor.settings.columns)
    test = preprocessor.encode(channel, "test")
    scored = predict_scores(model, make_link(choose_task(preprocessor)), test, 7)
    assert np.abs(scored - written[columns].to_numpy()).max() < 1e-5
    assert_artifacts_have_the_calibration(finished, preprocessor.rules.scaling.scales)


def assert_artifacts_have_the_calibration(job: JobFolder, scales: tuple[float, ...]) -> None:
    artifacts = torch.load(job.model / "model_artifacts.pth", weights_only=True)
    assert artifacts["calibration"]["scales"] == list(scales) == read_report(job)["calibration"]["scales"]


def test_files_predictor_and_evaluation_decide_by_the_rule(finished: JobFolder, tmp_path: Path) -> None:
    written = pd.read_parquet(finished.output / "test_predictions.parquet")
    decided = [name for name in written.columns if name.startswith("predicted_")]
    probabilities = written[[name for name in written.columns if name.startswith("prob_")]].to_numpy()
    predictor = Predictor.load(finished.model)
    assert predictor.predict(noisy_rows(40, 2)).to_numpy().tolist() == written[decided].to_numpy().tolist()
    decision = json.loads((finished.model / "manifest.json").read_text())["decision"]
    if decision["rule"] == "lowest_cost":
        assert decision["cost_matrix"] == COSTS
        expected = np.array(CLASSES)[(probabilities.astype(np.float64) @ np.array(COSTS)).argmin(axis=1)][:, None]
    else:
        expected = (probabilities[:, -len(decided) :] > np.array(decision["thresholds"], np.float32)).astype(int)
    assert written[decided].to_numpy().tolist() == expected.tolist()
    assert expected.tolist() != predict_by_default(probabilities, len(decided))
    metrics = read_report(finished)["splits"]["test"]["metrics"]
    names = [name.removeprefix("predicted_") for name in decided]
    assert metrics["accuracy"] == pytest.approx((written[names].to_numpy() == expected).all(axis=1).mean())
    evaluate_files(EvaluateOptions(finished.model, str(finished.root / "input/data/test"), tmp_path / "evaluation"))
    evaluated = json.loads((tmp_path / "evaluation/metrics.json").read_text())["splits"]["test"]["metrics"]
    assert evaluated == pytest.approx(metrics, abs=1e-4)


def predict_by_default(probabilities: np.ndarray, columns: int) -> list[Any]:
    if probabilities.shape[1] == 3:
        predicted: list[Any] = np.array(CLASSES)[probabilities.argmax(axis=1)][:, None].tolist()
        return predicted
    return (probabilities[:, -columns:] > 0.5).astype(int).tolist()


def test_metrics_json_says_what_the_rule_gives_on_val(finished: JobFolder) -> None:
    report = read_report(finished)
    decision, val = report["decision"], report["splits"]["val"]
    assert decision["warnings"] == []
    if decision["setting"] == "min_recall":
        assert all(entry["recall"] >= decision["value"] for entry in decision["on_val"].values())
    for name, entry in decision["on_val"].items():
        classes = val.get("per_class") or val["per_label"]
        assert (entry["precision"], entry["recall"]) == (classes[name]["precision"], classes[name]["recall"])


@pytest.mark.parametrize("finished", ["two classes"], indirect=True)
def test_a_finished_job_applies_other_rules_without_training_again(finished: JobFolder, tmp_path: Path) -> None:
    shutil.copytree(finished.root, tmp_path / "again")
    again, calibrated = JobFolder(tmp_path / "again"), read_report(finished)
    path = again.root / "input/config/hyperparameters.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "calibration": '"none"', "min_recall": "0.5"}))
    assert again.run() == 0
    report = read_report(again)
    assert "calibration" not in report
    assert report["decision"]["value"] == 0.5
    thresholds = [json.loads((job.model / "manifest.json").read_text())["decision"] for job in (again, finished)]
    assert thresholds[0] != thresholds[1]
    assert report["training"]["steps"] == calibrated["training"]["steps"]
    before = calibrated["calibration"]["splits"]["val"]["log_loss"]["before"]
    assert report["splits"]["val"]["metrics"]["log_loss"] == pytest.approx(before, abs=1e-6)
