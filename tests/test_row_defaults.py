"""What a job does that does not set how it validates: the metric, the interval, and the averaged checkpoints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from encoder_folders import save_encoder
from fusionzoo.architecture import choose_architecture
from fusionzoo.tasks.task import Task
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.row_defaults import choose_interval, choose_patience, resolve_job_settings
from process_helpers import read_metrics
from resume_helpers import resume, run_until_killed
from shop import JobFolder, shop_rows
from task_helpers import make_classification
from training_helpers import make_job_settings, make_random_split

REQUIRED = {"id_name": "id", "label_name": "y", "num_classes": 2, "text_name": "text", "tokenizer": "word"}
TUNED: dict[str, Any] = {
    "early_stop_metric": "val/auroc",
    "early_stop_patience": 10,
    "val_check_interval": 0.5,
    "average_checkpoints": 3,
}
FRESH = {**TUNED, "early_stop_patience": 5, "val_check_interval": 1.0, "average_checkpoints": 0}


def resolve(is_tuned: bool, labels: np.ndarray, task: Task | None = None, **settings: Any) -> dict[str, Any]:
    """Return the choices of a job with 1,000 training rows and these labels of val."""
    kept = settings.pop("kept", {})
    architecture = choose_architecture({**REQUIRED, "model_class": "cnn", **settings})
    task, train = task or make_classification(), make_random_split(1000)
    val = replace(make_random_split(len(labels)), labels=labels)
    job = resolve_job_settings(architecture, task, {"train": train, "val": val}, is_tuned, kept)
    choices = job.choices()
    assert choices.pop("max_epochs") == (3 if is_tuned else 13)
    return choices


def alternate(classes: int, rows: int = 200) -> np.ndarray:
    return np.arange(rows) % classes


def test_a_fine_tuned_encoder_averages_checkpoints() -> None:
    assert resolve(True, alternate(2)) == TUNED
    assert resolve(False, alternate(2)) == FRESH


@pytest.mark.parametrize("settings", [TUNED, FRESH, {**FRESH, "early_stop_metric": "val/brier_score"}])
@pytest.mark.parametrize("is_tuned", [False, True])
def test_values_of_the_user_stay(settings: dict[str, Any], is_tuned: bool) -> None:
    assert resolve(is_tuned, alternate(2), **settings) == settings


@pytest.mark.parametrize(("rows_of_class_1", "metric"), [(0, "val_loss"), (49, "val_loss"), (50, "val/auroc")])
def test_a_rank_metric_needs_rows_of_both_classes(rows_of_class_1: int, metric: str) -> None:
    labels = (np.arange(200) < rows_of_class_1).astype(np.int64)
    assert resolve(True, labels)["early_stop_metric"] == metric
    assert resolve(True, 1 - labels)["early_stop_metric"] == metric
    unlabeled = np.full(100, -1)
    assert resolve(True, np.concatenate([labels, unlabeled]))["early_stop_metric"] == metric


@pytest.mark.parametrize("is_tuned", [False, True])
def test_probabilities_without_calibration_are_selected_by_the_loss(is_tuned: bool) -> None:
    assert resolve(is_tuned, alternate(2), calibration="none")["early_stop_metric"] == "val_loss"


def test_more_than_two_classes_are_selected_by_the_loss() -> None:
    task = make_classification(("a", "b", "c"))
    assert resolve(True, alternate(3), task, num_classes=3)["early_stop_metric"] == "val_loss"


@pytest.mark.parametrize("train_rows", [1, 7, 2000, 10**6])
def test_the_second_validation_of_an_epoch_costs_at_most_a_fifth_of_it(train_rows: int) -> None:
    largest = int(0.6 * train_rows)
    assert choose_interval(train_rows, largest, is_tuned=True) == 0.5
    assert choose_interval(train_rows, largest + 1, is_tuned=True) == 1.0
    assert choose_interval(train_rows, 1, is_tuned=False) == 1.0


@pytest.mark.parametrize(("steps", "patience"), [(0.5, 150), (1, 150), (10, 15), (16, 10), (49, 4), (50, 3), (1e6, 3)])
def test_the_patience_has_at_least_150_steps(steps: float, patience: int) -> None:
    assert choose_patience(steps) == patience


@pytest.mark.parametrize("batches", [1, 2, 3, 63, 64, 1001])
@pytest.mark.parametrize("times", [1, 2, 3, 10])
def test_an_epoch_has_all_its_validations(batches: int, times: int) -> None:
    """Lightning validates after each multiple of the batches between validations that is within the epoch."""
    between = make_job_settings(val_check_interval=1 / times).count_batches_between_validations(batches)
    assert batches // between >= min(times, batches)
    assert batches % between < times, "few steps after the last validation"


@pytest.mark.parametrize(("batches", "accumulated", "between"), [(13, 1, 6), (13, 6, 6), (13, 7, 7), (13, 100, 13)])
def test_at_least_one_step_is_between_validations(batches: int, accumulated: int, between: int) -> None:
    """Validations of unchanged weights used up the patience."""
    settings = make_job_settings(val_check_interval=0.5, accumulate_grad_batches=accumulated)
    assert settings.count_batches_between_validations(batches) == between


def test_a_resumed_job_keeps_what_it_chose() -> None:
    """AUROC is chosen because calibration repairs the probabilities; calibration may change after the training."""
    assert resolve(True, alternate(2)) == TUNED
    assert resolve(True, alternate(2), calibration="none") == TUNED | {"early_stop_metric": "val_loss"}
    assert resolve(True, alternate(2), calibration="none", kept=TUNED | {"max_epochs": 99}) == TUNED


@pytest.mark.parametrize("first", ["temperature", "none"])
@pytest.mark.parametrize("steps", [15, 10**6])
def test_another_calibration_does_not_change_the_metric_of_a_job_that_is_started_again(
    first: str, steps: int, tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").fill(max_epochs=3, early_stop_patience=9, calibration=first)
    job.channel("val", shop_rows(200, 1))
    assert run_until_killed(job, TrainingModule, "training_step", steps) == (-9 if steps == 15 else 0)
    file = job.root / "input/config/hyperparameters.json"
    second = {"none": "temperature", "temperature": "none"}[first]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"calibration": json.dumps(second)}))
    resume(job)
    training = read_metrics(job)["training"]
    metric = "val_loss" if first == "none" else "val/auroc"
    assert (training["settings"]["early_stop_metric"], training["best"]["metric"]) == (metric, metric)
    values = [entry[metric] for entry in training["validations"]]
    assert len(values) == 3
    assert training["best"]["value"] == pytest.approx(min(values) if first == "none" else max(values))
    assert (job.model / "model.pth").exists()


def test_a_job_with_a_pretrained_encoder_trains_so_and_says_it(
    job: JobFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save_encoder(tmp_path / "encoder")
    settings = {
        "model_class": "multimodal_bert",
        "tokenizer": folder,
        "encoder_name": folder,
        "embedding_dim": None,
        "num_channels": None,
    }
    job.fill(rows=400, onnx="off", **settings)
    assert job.run() == 0, job.failure
    training = json.loads((job.output / "metrics.json").read_text())["training"]
    assert training["settings"] == {"max_epochs": 2, **TUNED, "early_stop_patience": 12}  # 13 steps per epoch
    assert len(training["validations"]) == 4
    assert 1 <= len(training["averaging"]["averaged"]) <= 3
    assert training["averaging"]["value"] >= training["averaging"]["best_alone"]
    line = "Validating 2 times per epoch; val/auroc selects the best weights, and the best 3 may be averaged"
    assert line in capfd.readouterr().out
