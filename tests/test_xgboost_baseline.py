"""train_xgboost.py: XGBoost on the table and the text, with the settings, channels, metrics and files of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from fusionzoo.contracts import XGBOOST_TRAIN_CONTRACT
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.tasks.task_choice import choose_task
from prediction_helpers import read_frame
from process_helpers import TRAIN_PY
from shop import JobFolder, shop_rows

pytest.importorskip("xgboost", reason="make install installs xgboost-cpu")

from fusionzoo.baseline.baseline_model import BaselineModel
from fusionzoo.baseline.baseline_script import run_baseline_script

TASKS: dict[str, dict[str, Any]] = {
    "numbers": {"task": "regression", "label_name": ["amount", "weight"], "target_transform": "log1p"},
    "quantiles": {"task": "regression", "label_name": "amount", "loss": "quantile", "quantiles": [0.1, 0.5, 0.9]},
    "labels": {"task": "multilabel", "label_name": ["angry", "far", "often"]},
}
SCRIPT = TRAIN_PY.with_name("train_xgboost.py")


def run(job: JobFolder) -> int:
    return run_baseline_script({"SAGEMAKER_BASE_DIR": str(job.root), "FUSIONZOO_CACHE": str(job.root / "cache")})


def add_targets(frame: pd.DataFrame) -> pd.DataFrame:
    """Add numbers and labels to predict, which depend on the text, on a number and on a category."""
    tone = frame["target"].astype(float)
    tags = {"angry": tone == 1, "far": frame["country"].isin(["it", "us"]), "often": frame["visits"] > 5}
    numbers = {"amount": np.exp(3 + 2 * tone + 0.1 * frame["visits"]), "weight": 5 - 2 * tone}
    return frame.assign(**numbers, **{name: column.astype(int) for name, column in tags.items()})


def assert_scores_are_written(job: JobFolder) -> None:
    """Assert that the saved model gives the scores in the prediction file of test, in the order of the rows."""
    model = BaselineModel.load(job.model)
    settings = model.preprocessor.settings
    channel = open_channel("test", job.root / "input/data/test", settings.columns, ReadOptions.from_settings(settings))
    split = model.preprocessor.encode(channel, "test")
    written = read_frame(next(job.output.glob("test_predictions.*")))
    scores = written[choose_task(model.preprocessor).score_columns].to_numpy()
    np.testing.assert_allclose(model.score(split), scores, rtol=1e-6, atol=1e-6)
    assert written.iloc[:, 0].tolist() == split.ids.to_pylist()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("baseline")).fill().settings()
    assert run(job) == 0
    return job


def test_a_job_leaves_the_artifacts_of_its_contract(trained: JobFolder) -> None:
    model, output = (XGBOOST_TRAIN_CONTRACT.artifacts[name] for name in ("model_output", "data_output"))
    assert {path.name for path in trained.model.iterdir()} == {*model}
    for pattern in output:
        assert list(trained.output.glob(pattern.removesuffix("/"))), pattern
    splits = json.loads((trained.output / "metrics.json").read_text())["splits"]
    assert set(splits) == {"val", "test"}
    assert 0 <= splits["val"]["metrics"]["auroc"] <= 1


def test_the_saved_model_scores_rows_as_the_job_did_and_predictions_keep_their_order(trained: JobFolder) -> None:
    assert_scores_are_written(trained)


def test_a_full_disk_is_an_error_of_the_system_and_not_of_xgboost(trained: JobFolder, tmp_path: Path) -> None:
    (tmp_path / "xgboost_model.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        BaselineModel.load(trained.model).save(tmp_path)


@pytest.mark.parametrize("settings", TASKS.values(), ids=TASKS)
def test_other_tasks_are_learned_and_their_models_score_as_the_job_did(
    settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.data.text.word_vectors.build_word_vectors", None)  # the baseline needs none
    job = JobFolder(tmp_path)
    for seed, (name, rows) in enumerate({"train": 160, "val": 48, "test": 48}.items()):
        job.channel(name, add_targets(shop_rows(rows, seed)))
    job.settings(**{"num_classes": None, "tab_field_list": ["visits"], **settings})
    assert run(job) == 0, job.failure
    metrics = json.loads((job.output / "metrics.json").read_text())["splits"]["test"]["metrics"]
    if settings["task"] == "regression":
        assert metrics["r2"] > 0.5
    else:
        assert metrics["auroc"] > 0.8
    assert_scores_are_written(job)


def test_a_test_split_without_labels_has_predictions_and_no_metrics(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(rows=60)
    rows = shop_rows(20, 7)
    job.channel("test", rows.drop(columns="target"))
    assert run(job) == 0
    assert read_frame(next(job.output.glob("test_predictions.*")))["id"].tolist() == rows["id"].tolist()
    assert "test" not in json.loads((job.output / "metrics.json").read_text())


def test_quantiles_of_two_columns_are_refused_before_data_is_read(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).settings(
        **{**TASKS["quantiles"], "num_classes": None, "label_name": ["amount", "weight"]}
    )
    assert run(job) == 1
    assert "1 problem" in job.failure
    assert "quantiles = [0.1, 0.5, 0.9]: the XGBoost baseline predicts quantiles of one column" in job.failure
    assert not (job.model / "xgboost_model.json").exists()


def test_several_instances_are_refused(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).fill().settings()
    config = {"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}
    (tmp_path / "input/config/resourceconfig.json").write_text(json.dumps(config))
    assert run(job) == 1
    assert "set InstanceCount (instance_count) to 1. [FZ-R009]" in (tmp_path / "output/failure").read_text()


def test_train_xgboost_py_is_compliant() -> None:
    report = XGBOOST_TRAIN_CONTRACT.validate_implementation(SCRIPT)
    assert report.summary == "train_xgboost.py vs TrainingScriptContract: COMPLIANT", report.errors
