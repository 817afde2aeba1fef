"""The command line, and what starts without torch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CLI = [sys.executable, "-m", "fusionzoo.cli"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from fusionzoo.cli import app; sys.argv[0] = 'fusionzoo'; app()"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], env={**os.environ, **environment}, capture_output=True, text=True
    )


def test_list_names_every_installed_architecture_and_encoder() -> None:
    rows = json.loads(run("list", "--json").stdout)
    found = {(row["kind"], row["name"]): row["distribution"] for row in rows}
    assert found["model_class", "multimodal_bert"] == "fusionzoo-bert"
    assert found["model_class", "cnn"] == "fusionzoo-cnn"
    assert found["text_encoder", "bert"] == "fusionzoo-bert"
    assert "multimodal_cnn" in run("list").stdout


@pytest.mark.parametrize(
    "code",
    [
        "import fusionzoo",
        "from typer.testing import CliRunner; from fusionzoo.cli import app; CliRunner().invoke(app, ['list'])",
        "from typer.testing import CliRunner; from fusionzoo.cli import app; CliRunner().invoke(app, ['--help'])",
        "import fusionzoo.sagemaker, fusionzoo.settings, fusionzoo.data.preprocessor, fusionzoo.serving.predictor",
    ],
)
def test_these_start_without_torch(code: str) -> None:
    heavy = "('torch', 'lightning', 'transformers', 'gensim', 'onnxruntime')"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print([m for m in {heavy} if m in sys.modules])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().splitlines()[-1] == "[]"


def test_help_names_every_command() -> None:
    out = run("--help").stdout
    assert all(command in out for command in ("list", "train", "demo"))


def test_the_demo_trains_and_ends_with_test_figures_the_ceiling_and_paths(tmp_path: Path) -> None:
    done = run(
        "demo", "--rows", "400", "--root", str(tmp_path / "d"), "--set", "max_epochs=1", "--set", "num_channels=[8]"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "auroc" in done.stdout
    assert "best possible" in done.stdout
    assert str(tmp_path / "d/model") in done.stdout
    settings = json.loads((tmp_path / "d/input/config/hyperparameters.json").read_text())
    assert settings["model_class"] == "multimodal_cnn"
    assert (tmp_path / "d/model/model.onnx").exists()


def test_the_demo_refuses_a_folder_with_other_data_and_an_unknown_model(tmp_path: Path) -> None:
    (tmp_path / "input/data/train").mkdir(parents=True)
    (tmp_path / "input/data/train/mine.csv").write_text("id\n1\n")
    done = run("demo", "--rows", "300", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "mine.csv" in done.stderr
    other = run("demo", "--rows", "300", "--root", str(tmp_path / "new"), "--model-class", "multimodal_cn")
    assert other.returncode == 1
    assert "Did you mean 'multimodal_cnn'" in other.stdout


def test_train_runs_the_job_in_a_folder_and_reports_its_failure(tmp_path: Path) -> None:
    done = run("train", "--root", str(tmp_path))
    assert done.returncode == 1
    assert "hyperparameters" in (tmp_path / "output/failure").read_text()
