"""The setting `onnx`: what a job does with a model that cannot be exported, and without an export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Installer
from correct_plugins import BOUNDED, Mutant
from fusionzoo.artifacts import model_folder
from fusionzoo.artifacts.model_folder import load_model
from fusionzoo.errors import ModelFolderError
from fusionzoo.serving.predictor import Predictor
from shop import JobFolder

LAST = "\n        return ModelOutput("
FIXED_NUMBER = (LAST, f"\n        logits = logits * (1 + 0.1 * (len(chunk_row) % 3)){LAST}")
WRONG_WIDTH = (LAST, f"\n        logits = logits @ torch.ones(9, 9){LAST}")
NAN_UNTIL_TRAINED = (
    LAST,
    "\n        self.is_trained = getattr(self, 'is_trained', False) or self.training"
    f"\n        logits = logits if self.is_trained else logits * torch.nan{LAST}",
)
RANDOM = (LAST, f"\n        logits = torch.nn.functional.dropout(logits, 0.5){LAST}")
RAISES_IN_TRACING = (LAST, f"\n        assert not torch.jit.is_tracing(), 'not here'{LAST}")


def fill(job: JobFolder, install: Installer, *changes: tuple[str, str], **settings: Any) -> None:
    install("acme-mutant", source=Mutant("", frozenset(), changes).source, models=["mutant"], requires=BOUNDED)
    small = {"model_class": "mutant", "text_encoder": "cnn", "max_epochs": 1}
    job.fill(rows=60, **{**small, "onnx": None, **settings})


@pytest.mark.parametrize("change", [FIXED_NUMBER, RAISES_IN_TRACING], ids=["fixed_number", "raises_in_tracing"])
def test_a_model_that_cannot_be_exported_is_an_error_before_training(
    job: JobFolder, install: Installer, change: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(job, install, change)
    assert job.run() == 1
    assert "[FZ-O00" in job.failure
    assert "Training on" not in capsys.readouterr().out


@pytest.mark.parametrize("change", [FIXED_NUMBER, RAISES_IN_TRACING], ids=["fixed_number", "raises_in_tracing"])
def test_a_model_that_cannot_be_exported_trains_if_the_export_is_optional(
    job: JobFolder, install: Installer, change: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fill(job, install, change, onnx="optional")
    assert job.run() == 0, job.failure
    assert "The model folder will have no model.onnx, because onnx is optional: " in capsys.readouterr().out
    assert not list(job.model.glob("*onnx*"))
    assert (job.output / "test_predictions.parquet").exists()
    load_model(job.model)
    with pytest.raises(ModelFolderError, match="the job exported no ONNX file"):
        Predictor.load(job.model)


def test_scores_that_are_random_are_not_blamed_on_the_export(job: JobFolder, install: Installer) -> None:
    fill(job, install, RANDOM)
    assert job.run() == 1
    assert "LateSum scores the same rows differently each time: the probabilities change by " in job.failure
    assert "switch dropout and noise off unless self.training, as nn.Dropout does" in job.failure
    assert "[FZ-O039]" in job.failure


def test_an_optional_export_of_a_model_that_can_be_exported_is_written(job: JobFolder, install: Installer) -> None:
    fill(job, install, onnx="optional")
    assert job.run() == 0, job.failure
    assert {"model.onnx", "onnx_check.json"} <= {path.name for path in job.model.iterdir()}


def test_without_export_the_onnx_file_of_an_earlier_run_is_removed(
    job: JobFolder, install: Installer, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(job, install)
    assert job.run() == 0, job.failure
    assert (job.model / "model.onnx").exists()
    job.settings(model_class="mutant", text_encoder="cnn", max_epochs=1, onnx="off")
    assert job.run() == 0, job.failure
    assert not list(job.model.glob("*onnx*"))
    assert "model.onnx, because" not in capsys.readouterr().out


def test_a_resumed_job_may_change_the_setting(job: JobFolder, install: Installer) -> None:
    fill(job, install)
    assert job.run() == 0, job.failure
    file = job.root / "input/config/hyperparameters.json"
    file.write_text(file.read_text()[:-1] + ', "onnx": "off"}')
    assert job.run() == 0, job.failure


@pytest.mark.parametrize("onnx", ["required", "optional", "off"])
def test_a_bug_in_the_model_is_reported_with_its_line_whatever_the_setting(
    job: JobFolder, install: Installer, onnx: str, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(job, install, WRONG_WIDTH, onnx=onnx)
    assert job.run() == 1
    assert job.failure.startswith("RuntimeError: mat1 and mat2 shapes cannot be multiplied")
    assert "max_sen_len" not in job.failure
    assert "acme_mutant.py" in capsys.readouterr().out


# --- the model folder


def test_scores_that_are_nan_only_after_loading_are_blamed_on_the_state(job: JobFolder, install: Installer) -> None:
    fill(job, install, NAN_UNTIL_TRAINED, onnx="off")
    assert job.run() == 1
    assert "are NaN or infinite, although the trained model's are finite." in job.failure
    assert "keep all state in the state_dict" in job.failure
    assert "[FZ-O009]" in job.failure


def test_scores_of_the_trained_model_that_are_nan_are_not_blamed_on_the_folder(
    job: JobFolder, install: Installer, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = model_folder.write_model_folder

    def write_with_nan(folder: Path, trained: Any, val: Any, val_scores: np.ndarray, before_move: Any) -> None:
        val_scores[:2] = np.nan
        write(folder, trained, val, val_scores, before_move)

    monkeypatch.setattr(model_folder, "write_model_folder", write_with_nan)
    fill(job, install, onnx="off")
    assert job.run() == 1
    assert "The trained model acme_mutant.LateSum computes scores that are NaN or infinite for 2 of " in job.failure
    assert "[FZ-O034]" in job.failure
    assert not list(job.model.iterdir())
