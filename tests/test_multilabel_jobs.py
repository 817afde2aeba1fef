"""Multilabel jobs: every form of the labels, training, evaluation, the Predictor, resuming and several processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from fusionzoo.serving.predictor import Predictor
from fusionzoo.training.module import TrainingModule
from plot_rendering import plots_rendered
from prediction_helpers import assert_commands_reproduce
from process_helpers import DETERMINISTIC, copy_job, get_probabilities, load_weights, read_log, run_forked, run_in_child
from resume_helpers import copy_input, read_results, run_until_killed
from shop import JobFolder, shop_rows

TASK: dict[str, Any] = {"task": "multilabel", "num_classes": None, "label_name": "tags"}
NAMES = ("angry", "far", "often")


def tagged_rows(rows: int, seed: int) -> pd.DataFrame:
    """Return rows with labels that depend on the text, a category and a number, as lists and as columns of 0 and 1."""
    frame = shop_rows(rows, seed)
    columns = {
        "angry": frame["target"] == 1,
        "far": frame["country"].isin(["it", "us"]),
        "often": frame["visits"] > 5,
    }
    frame["tags"] = [[name for name in NAMES if columns[name][row]] for row in range(rows)]
    return frame.assign(**{name: column.astype(int) for name, column in columns.items()})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A job after an uninterrupted run; some rows of test have no labels."""
    job = JobFolder(tmp_path_factory.mktemp("multilabel"))
    for seed, (name, rows) in enumerate({"train": 157, "val": 60, "test": 48}.items()):
        frame = tagged_rows(rows, seed)
        if name == "test":
            frame.loc[:9, "tags"] = None
        job.channel(name, frame)
    settings = {"loss": "focal", "class_weights": "balanced", "early_stop_metric": "val/f1_macro"}
    steps = {"average_checkpoints": 2, "checkpoint_every_n_steps": 1, "max_epochs": 3, "lr": 0.02}
    job.settings(**TASK, **settings, **steps, **DETERMINISTIC, onnx="required")
    with plots_rendered():
        assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    return job


def test_a_job_learns_the_labels_and_writes_the_evaluation(finished: JobFolder) -> None:
    report, log = json.loads((finished.output / "metrics.json").read_text()), read_log(finished)
    splits = report["splits"]
    assert splits["test"]["rows"] == 38  # those with labels
    assert report["classes"] == list(splits["val"]["per_label"]) == list(NAMES)
    assert splits["val"]["metrics"]["auroc"] > 0.8
    plots = {path.name for path in (finished.output / "plots").iterdir()}
    assert {"val_label_metrics.png", "test_precision_recall.png", "test_reliability.png"} <= plots
    for line in ("#metric val_f1_micro=", "#metric test_hamming_loss=", "best validation: val/f1_score", "per row"):
        assert line in log
    chosen = report["training"]["averaging"]
    assert chosen["value"] == pytest.approx(splits["val"]["metrics"]["f1_score"])


def test_the_commands_reproduce_the_prediction_file_and_the_metrics(finished: JobFolder, tmp_path: Path) -> None:
    assert_commands_reproduce(finished, tmp_path)


def test_the_predictor_reproduces_the_prediction_file_with_probabilities_and_labels(finished: JobFolder) -> None:
    file = pd.read_parquet(finished.output / "test_predictions.parquet")
    frame = pd.read_parquet(finished.root / "input/data/test/part-00000.parquet")
    predictor, features = Predictor.load(finished.model), frame.drop(columns=["tags", *NAMES])
    assert list(file.columns) == ["id", "tags", *(f"prob_{name}" for name in NAMES), "predicted_tags"]
    probabilities = predictor.predict_proba(features)
    assert list(predictor.classes) == list(probabilities.columns) == list(NAMES)
    assert np.allclose(probabilities, get_probabilities(file), atol=1e-5)
    decided = [[n for n, p in zip(NAMES, row, strict=True) if p > 0.5] for row in get_probabilities(file)]
    assert [list(labels) for labels in file["predicted_tags"]] == decided
    assert [list(labels) for labels in predictor.predict(features)["predicted_tags"]] == decided
    assert [row["predicted_tags"] for row in predictor.predict(features.to_dict("records"))] == decided
    assert predictor.predict(pa.Table.from_pandas(features))["predicted_tags"].to_pylist() == decided
    assert file["tags"].isna().sum() == 10
    assert [list(tags) for tags in file["tags"][10:]] == [list(tags) for tags in frame["tags"][10:]]
    results = torch.load(finished.output / "predict_results.pth", weights_only=True)
    assert results["y_true"].shape == results["y_pred"].shape == (48, 3)
    artifacts = torch.load(finished.model / "model_artifacts.pth", weights_only=True)
    assert artifacts["label_map"] == {name: index for index, name in enumerate(NAMES)}


def test_a_killed_multilabel_job_resumes_bit_identically(finished: JobFolder, tmp_path: Path) -> None:
    job = copy_input(finished, tmp_path)
    assert run_until_killed(job, TrainingModule, "training_step", 13) == -signal.SIGKILL
    assert run_in_child(job.run, job.root / "log.txt") == 0, read_log(job)
    assert "Resuming from" in read_log(job)
    assert read_results(job) == read_results(finished)


def test_two_processes_have_the_results_of_one(finished: JobFolder, tmp_path: Path) -> None:
    two = copy_job(finished, tmp_path)
    assert run_forked(two, 2) == 0, read_log(two)
    one, other = (json.loads((job.output / "metrics.json").read_text()) for job in (finished, two))
    for split in ("val", "test"):
        assert other["splits"][split]["metrics"] == pytest.approx(one["splits"][split]["metrics"], abs=1e-6)
    for name in ("val_loss", "val/f1_score"):
        values = [[validation[name] for validation in job["training"]["validations"]] for job in (one, other)]
        assert values[1] == pytest.approx(values[0], abs=1e-5)
    pairs = zip(load_weights(two).values(), load_weights(finished).values(), strict=True)
    assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in pairs)


@pytest.mark.parametrize(
    ("file", "form", "settings"),
    [
        ("a.jsonl", "lists", {"model_class": "multimodal_gate_fusion", "text_encoder": "cnn"}),
        ("a.csv", "JSON", {"model_class": "multimodal_cross_attn", "text_encoder": "cnn", "class_weights": {"far": 2}}),
        ("a.tsv", "separator", {"model_class": "multimodal_moe", "text_encoder": "cnn", "label_separator": "|"}),
        ("a.csv", "columns", {"model_class": "multimodal_lstm", "num_channels": None, "label_name": list(NAMES)}),
    ],
)
def test_labels_of_every_form_are_split_trained_on_and_written_as_they_came_in(
    file: str, form: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    frame, job = tagged_rows(80, 0), JobFolder(tmp_path)
    match form:
        case "JSON":
            frame["tags"] = frame["tags"].map(json.dumps)
        case "separator":
            frame["tags"] = frame["tags"].map("|".join).replace("", "[]")
    job.channel("train", frame, file)
    fractions = {"val_fraction": 0.25, "test_fraction": 0.25, "group_field": "visits"}
    job.settings(**{**TASK, "max_epochs": 1, "onnx": "off", **fractions, **settings})
    assert job.run() == 0, job.failure
    path = job.output / f"test_predictions{Path(file).suffix}"
    if file == "a.jsonl":
        written = pd.read_json(path, lines=True, dtype={"id": str})
    else:
        written = pd.read_csv(path, sep="\t" if file == "a.tsv" else ",", dtype={"id": str})
    labels = list(NAMES) if form == "columns" else ["tags"]
    expected = frame.set_index("id").loc[written["id"], labels].reset_index(drop=True)
    pd.testing.assert_frame_equal(written[labels], expected)
    kinds = {name: type(written[f"predicted_{name}"][0]) for name in labels}
    assert kinds == {name: type(expected[name][0]) for name in labels}
