"""train_xgboost.py: XGBoost on the table and the text, with the settings, channels, metrics and files of a job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fusionzoo.contracts import XGBOOST_TRAIN_CONTRACT
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.data.reading.options import ReadOptions
from prediction_helpers import read_frame
from process_helpers import TRAIN_PY
from shop import JobFolder

pytest.importorskip("xgboost", reason="make install installs xgboost-cpu")

from fusionzoo.baseline.baseline_model import BaselineModel
from fusionzoo.baseline.baseline_script import run_baseline_script

SCRIPT = TRAIN_PY.with_name("train_xgboost.py")


def run(job: JobFolder) -> int:
    return run_baseline_script({"SAGEMAKER_BASE_DIR": str(job.root), "FUSIONZOO_CACHE": str(job.root / "cache")})


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
    model = BaselineModel.load(trained.model)
    settings = model.preprocessor.settings
    channel = open_channel(
        "test", trained.root / "input/data/test", settings.columns, ReadOptions.from_settings(settings)
    )
    split = model.preprocessor.encode(channel, "test")
    written = read_frame(next(trained.output.glob("test_predictions.*")))
    scores = written[[name for name in written if name.startswith("prob_")]].to_numpy()
    np.testing.assert_allclose(model.score(split), scores, atol=1e-6)
    assert written.iloc[:, 0].tolist() == split.ids.to_pylist()


def test_a_full_disk_is_an_error_of_the_system_and_not_of_xgboost(trained: JobFolder, tmp_path: Path) -> None:
    (tmp_path / "xgboost_model.json").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        BaselineModel.load(trained.model).save(tmp_path)


def test_another_task_is_refused(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).fill().settings(task="regression", num_classes=None, is_binary=None, label_name="price")
    assert run(job) == 1
    assert "FZ-" in (tmp_path / "output/failure").read_text()
    assert not (tmp_path / "model/xgboost_model.json").exists()


def test_several_instances_are_refused(tmp_path: Path) -> None:
    job = JobFolder(tmp_path).fill().settings()
    config = {"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}
    (tmp_path / "input/config/resourceconfig.json").write_text(json.dumps(config))
    assert run(job) == 1
    assert "set InstanceCount (instance_count) to 1. [FZ-R009]" in (tmp_path / "output/failure").read_text()


def test_train_xgboost_py_is_compliant() -> None:
    report = XGBOOST_TRAIN_CONTRACT.validate_implementation(SCRIPT)
    assert report.summary == "train_xgboost.py vs TrainingScriptContract: COMPLIANT", report.errors
