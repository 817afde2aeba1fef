"""A job from end to end: from a SageMaker folder tree to the artifacts of the contract."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from fusionzoo.artifacts import model_folder
from fusionzoo.artifacts.verified_folder import verify_folder
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.nn.inference import predict_scores
from fusionzoo.sagemaker.earlier_results import set_earlier_results_aside
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.serving.predictor import Predictor
from fusionzoo.tasks.objectives import make_link
from fusionzoo.tasks.task_choice import choose_task
from plot_rendering import plots_rendered
from process_helpers import get_probabilities
from shop import JobFolder, shop_rows

TRAIN_PY = Path(__file__).parents[1] / "train.py"
MODEL_FILES = {
    "model.pth",
    "model_artifacts.pth",
    "model.onnx",
    "onnx_check.json",
    "preprocessor.json",
    "tokenizer.json",
    "hyperparameters.json",
    "manifest.json",
}
OUTPUT_FILES = {"metrics.json", "predict_results.pth", "plots", "tensorboard_eval", "tensorboard"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A finished job with three text labels, and part files in three formats."""
    job = JobFolder(tmp_path_factory.mktemp("trained"))
    job.fill(classes=("calm", "tense", "über"), rows=160, onnx="required")
    frame = shop_rows(60, 9, ("calm", "tense", "über"))
    job.channel("train", frame[:30], "part-00007.csv")
    job.channel("train", frame[30:], "nested/part-00010.jsonl")
    with plots_rendered():
        assert job.run() == 0
    return job


@pytest.fixture(scope="module")
def one_epoch(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    """A finished job of one epoch; do not change it."""
    job = JobFolder(tmp_path_factory.mktemp("one-epoch")).fill(max_epochs=1)
    assert job.run() == 0
    return job


def test_a_job_leaves_exactly_the_artifacts_of_the_contract(trained: JobFolder) -> None:
    assert {path.name for path in trained.model.iterdir()} == MODEL_FILES
    predictions = {"val_predictions.parquet", "test_predictions.parquet"}
    assert {path.name for path in trained.output.iterdir()} == OUTPUT_FILES | predictions
    assert {path.name for path in (trained.root / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}
    assert {path.name for path in trained.root.iterdir()} == {"input", "model", "output", "checkpoints"}
    assert not (trained.root / "output/failure").exists()


def test_the_contract_lists_all_that_a_job_leaves(trained: JobFolder) -> None:
    for output, artifacts in PYTORCH_TRAIN_CONTRACT.artifacts.items():
        folder = trained.root / PYTORCH_TRAIN_CONTRACT.relative_path(output)
        names = {f"{path.name}/" if path.is_dir() else path.name for path in folder.iterdir()}
        matched = {pattern: {name for name in names if fnmatchcase(name, pattern)} for pattern in artifacts}
        assert [pattern for pattern, found in matched.items() if not found] == []
        assert names - set().union(*matched.values()) == set()


def test_a_later_run_first_sets_every_result_aside(trained: JobFolder, tmp_path: Path) -> None:
    shutil.copytree(trained.root, tmp_path / "ml")
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), "HOME": str(tmp_path)})
    set_earlier_results_aside(paths)
    assert list(paths.model.iterdir()) == []
    assert {path.name for path in paths.output_data.iterdir()} == {"tensorboard", "earlier_run"}
    assert {path.name for path in paths.earlier_run.iterdir()} == {"model", *OUTPUT_FILES} - {"tensorboard"} | {
        "val_predictions.parquet",
        "test_predictions.parquet",
    }
    verify_folder(paths.earlier_run / "model")


def test_a_wrong_setting_costs_no_model_and_a_run_that_succeeds_replaces_it(tmp_path: Path) -> None:
    job = JobFolder(tmp_path / "ml").fill(onnx="off", max_epochs=1)
    assert job.run() == 0
    weights = (job.model / "model.pth").read_bytes()
    for _ in range(2):
        assert job.settings(lr=-1).run() == 1
        assert not list(job.model.iterdir())
        assert (job.output / "earlier_run/model/model.pth").read_bytes() == weights
    verify_folder(job.output / "earlier_run/model")
    assert job.settings(onnx="off", max_epochs=1).run() == 0
    assert (job.model / "model.pth").read_bytes() == weights
    assert not (job.output / "earlier_run").exists()


def test_the_artifacts_contain_only_tensors_and_plain_types(trained: JobFolder) -> None:
    weights = torch.load(trained.model / "model.pth", weights_only=True)
    assert all(isinstance(value, torch.Tensor) for value in weights.values())
    artifacts = torch.load(trained.model / "model_artifacts.pth", weights_only=True)
    assert artifacts["model_class"] == "multimodal_cnn"
    assert artifacts["config"]["hidden_common_dim"] == 16
    assert artifacts["embedding_mat"].shape == (len(artifacts["vocab"]), 8)
    assert artifacts["label_map"] == {"calm": 0, "tense": 1, "über": 2}
    assert {"fusionzoo", "fusionzoo-cnn", "torch", "python"} <= set(artifacts["versions"])
    assert artifacts["input_spec"]["categories"][0]["name"] == "country"


def test_every_part_file_is_read_whatever_its_number(trained: JobFolder) -> None:
    preprocessor = json.loads((trained.model / "preprocessor.json").read_text())
    every = pd.concat([shop_rows(160, 0, ("calm", "tense", "über")), shop_rows(60, 9, ("calm", "tense", "über"))])
    price = next(number for number in preprocessor["numbers"] if number["name"] == "price")
    assert price["mean"] == pytest.approx(every["price"].mean(), rel=1e-9)
    assert price["std"] == pytest.approx(every["price"].std(ddof=0), rel=1e-9)


def test_predictions_have_the_ids_and_labels_of_the_input(trained: JobFolder) -> None:
    for seed, name in ((1, "val"), (2, "test")):
        given = shop_rows(48, seed, ("calm", "tense", "über"))
        out = pq.read_table(trained.output / f"{name}_predictions.parquet").to_pandas()
        assert out["id"].tolist() == given["id"].tolist()
        assert out["target"].tolist() == given["target"].tolist()
        assert set(out["predicted_target"]) <= {"calm", "tense", "über"}
    results = torch.load(trained.output / "predict_results.pth", weights_only=True)
    assert results["ids"] == shop_rows(48, 2, ("calm", "tense", "über"))["id"].tolist()
    assert results["classes"] == ["calm", "tense", "über"]
    assert results["split"] == "test"
    assert results["y_pred"].shape == (48, 3)
    assert results["y_pred"].dtype == torch.float32
    assert [results["classes"][i] for i in results["y_true"]] == out["target"].tolist()


def test_all_outputs_have_the_same_metrics_and_probabilities(trained: JobFolder) -> None:
    report = json.loads((trained.output / "metrics.json").read_text())
    out = pq.read_table(trained.output / "test_predictions.parquet").to_pandas()
    results = torch.load(trained.output / "predict_results.pth", weights_only=True)
    assert np.array_equal(get_probabilities(out), results["y_pred"].numpy())
    accuracy = (out["target"] == out["predicted_target"]).mean()
    assert report["splits"]["test"]["metrics"]["accuracy"] == pytest.approx(accuracy)
    assert report["splits"]["test"]["rows"] == 48
    assert set(report["data"]) == {"train", "val", "test"}
    assert set(report["data"]["val"]["text"]) == {"missing", "unknown_tokens", "dropped_tokens"}


def test_the_model_learns_and_model_pth_is_the_best_checkpoint(trained: JobFolder) -> None:
    report = json.loads((trained.output / "metrics.json").read_text())
    assert report["splits"]["val"]["metrics"]["auroc"] > 0.8
    best = torch.load(trained.root / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    weights = torch.load(trained.model / "model.pth", weights_only=True)
    assert all(torch.equal(best[f"model.{name}"], value) for name, value in weights.items())


def test_the_onnx_file_is_compared_in_at_least_four_batch_shapes(trained: JobFolder) -> None:
    check = json.loads((trained.model / "onnx_check.json").read_text())
    shapes = {(batch["rows"], batch["chunks"], batch["length"]) for batch in check["batches"]}
    assert len(shapes) >= 4
    assert max(batch["largest_difference"] for batch in check["batches"]) <= 1e-5
    assert check["extreme_rows"]["rows"] >= 1
    assert check["extreme_rows"]["largest_difference"] <= check["extreme_rows"]["tolerance"]
    assert (check["opset"], check["ir_version"] <= 9) == (17, True)


SCORE_OFFLINE = """
import socket, sys
def refuse(*a, **k): raise OSError("no network")
socket.socket.connect = refuse
import numpy as np
from pathlib import Path
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.data.reading.channel import open_channel
from fusionzoo.sagemaker.earlier_results import set_earlier_results_aside
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.serving.predictor import Predictor
predictor = Predictor.load(Path(sys.argv[1]))
channel = open_channel("val", Path(sys.argv[2]), predictor.columns)
np.save(sys.argv[3], np.concatenate([scored.scores for scored in predictor.predict_blocks(channel)]))
assert "torch" not in sys.modules, "serving must not need torch"
assert "fusionzoo_cnn" not in sys.modules
"""


def test_a_moved_model_folder_scores_raw_rows_offline_without_torch(trained: JobFolder, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(trained.model, moved)
    val = trained.root / "input/data/val"
    subprocess.run([sys.executable, "-c", SCORE_OFFLINE, str(moved), str(val), str(tmp_path / "p.npy")], check=True)
    written = get_probabilities(pq.read_table(trained.output / "val_predictions.parquet").to_pandas())
    assert np.abs(np.load(tmp_path / "p.npy") - written).max() <= 1e-5


def test_a_loaded_torch_model_scores_raw_rows_as_the_job_did(trained: JobFolder) -> None:
    model, preprocessor = model_folder.load_model(trained.model)
    channel = open_channel("val", trained.root / "input/data/val", preprocessor.settings.columns)
    scored = predict_scores(model, make_link(choose_task(preprocessor)), preprocessor.encode(channel, "val"), 7)
    written = get_probabilities(pq.read_table(trained.output / "val_predictions.parquet").to_pandas())
    assert np.abs(scored - written).max() <= 1e-5


def test_a_row_scores_the_same_alone_and_in_a_batch(trained: JobFolder) -> None:
    predictor = Predictor.load(trained.model)
    records = shop_rows(20, 1, ("calm", "tense", "über")).astype(object).where(lambda f: f.notna(), None)
    rows = records.to_dict("records")
    together = predictor.predict_records(rows)
    alone = np.concatenate([predictor.predict_records([row]) for row in rows])
    assert np.abs(together - alone).max() <= 1e-5


def test_every_input_affects_the_score(trained: JobFolder) -> None:
    predictor = Predictor.load(trained.model)
    row = {"message": "order 7 was late broken awful and the box red", "price": 1.0, "visits": 2.0, "country": "fr"}
    before = predictor.predict_records([row])
    others = {"message": "fine quick friendly", "price": 0.1, "visits": 8.0, "country": "us"}
    for name, value in others.items():
        for change in (value, None):
            after = predictor.predict_records([{**row, name: change}])
            assert not np.allclose(before, after, atol=1e-6), f"{name} = {change} has no effect"


def test_a_second_run_without_a_test_channel_replaces_the_artifacts_of_the_first_one(
    one_epoch: JobFolder, tmp_path: Path
) -> None:
    job = JobFolder(Path(shutil.copytree(one_epoch.root, tmp_path / "ml")))
    first = torch.load(job.model / "model.pth", weights_only=True)
    job.settings(max_epochs=1, seed=7, onnx="required")
    shutil.rmtree(job.root / "input/data/test")
    assert job.run() == 0
    assert {path.name for path in job.output.iterdir()} == OUTPUT_FILES | {"val_predictions.parquet"}
    assert torch.load(job.output / "predict_results.pth", weights_only=True)["split"] == "val"
    second = torch.load(job.model / "model.pth", weights_only=True)
    assert {path.name for path in job.model.iterdir()} == MODEL_FILES
    assert not all(torch.equal(first[name], second[name]) for name in first)


def test_the_same_job_gives_the_same_weights_and_scores(one_epoch: JobFolder, job: JobFolder) -> None:
    job.fill(max_epochs=1)
    assert job.run() == 0
    scores = [torch.load(folder.output / "predict_results.pth", weights_only=True) for folder in (one_epoch, job)]
    assert torch.equal(scores[0]["y_pred"], scores[1]["y_pred"])
    weights = [torch.load(folder.model / "model.pth", weights_only=True) for folder in (one_epoch, job)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_rows_without_text_train_on_the_table_and_are_never_dropped(job: JobFolder) -> None:
    job.fill(max_epochs=1)
    frame = shop_rows(40, 1)
    frame.loc[:29, "message"] = None
    frame.loc[30:34, "message"] = "   "
    job.channel("val", frame)
    assert job.run() == 0
    out = pq.read_table(job.output / "val_predictions.parquet").to_pandas()
    assert out["id"].tolist() == frame["id"].tolist()
    assert len({row.tobytes() for row in get_probabilities(out)[:30]}) > 1, "the table must affect the scores"


def test_a_text_without_message_marks_is_one_message(trained: JobFolder) -> None:
    plain, marked = "late broken awful", "[bom]late broken awful[eom]"
    predictor = Predictor.load(trained.model)
    other = {"price": 0.5, "visits": None, "country": None}
    scores = predictor.predict_records([{"message": text, **other} for text in (plain, marked, ".")])
    assert np.allclose(scores[0], scores[1], atol=1e-6)
    assert not np.allclose(scores[0], scores[2], atol=1e-3)


def read_predictions(path: Path) -> pd.DataFrame:
    if path.suffix == ".jsonl":
        return pd.read_json(path, lines=True, dtype=False)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", dtype=str)


@pytest.mark.parametrize("kinds", [("tsv", "csv", "jsonl"), ("jsonl", "tsv", "csv")], ids=" ".join)
def test_predictions_come_in_the_format_of_the_input_of_each_split(job: JobFolder, kinds: tuple[str, ...]) -> None:
    for seed, (name, kind) in enumerate(zip(("train", "val", "test"), kinds, strict=True)):
        job.channel(name, shop_rows(60, seed), f"part-0.{kind}")
    job.settings(max_epochs=1)
    assert job.run() == 0, job.failure
    for seed, name in ((1, "val"), (2, "test")):
        out = read_predictions(job.output / f"{name}_predictions.{kinds[seed]}")
        assert out["id"].tolist() == shop_rows(60, seed)["id"].tolist()


def test_train_py_reads_environment_variables_and_ignores_arguments(job: JobFolder) -> None:
    job.fill(max_epochs=1, rows=60)
    checkpoints = job.root / "other_checkpoints"
    done = subprocess.run(
        [sys.executable, str(TRAIN_PY), "train", "--model_class", "nonsense", "--epochs=9"],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.root), "SM_CHECKPOINT_DIR": str(checkpoints)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (checkpoints / "best.ckpt").exists()
    assert "#metric val_auroc=" in done.stdout
    assert "\r" not in done.stdout
    assert len(TRAIN_PY.read_text().splitlines()) < 30


def test_train_py_exits_with_1_and_writes_the_cause_to_the_failure_file(job: JobFolder) -> None:
    job.fill(model_class="multimodal_ccn")
    done = subprocess.run(
        [sys.executable, str(TRAIN_PY)],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Did you mean 'multimodal_cnn'?" in job.failure
    assert "Traceback" not in done.stdout + done.stderr
    assert not job.model.exists() or not list(job.model.iterdir())


def test_minilm_learns_real_reviews(job: JobFolder, minilm: str, real_data: Path) -> None:
    """A job with real pretrained weights, 256 rows and 8 steps."""
    train = pq.read_table(real_data / "womens_clothing/train").to_pandas().sample(256, random_state=0)
    val = pq.read_table(real_data / "womens_clothing/val").to_pandas().sample(150, random_state=0)
    job.channel("train", train)
    job.channel("val", val)
    job.settings(
        model_class="multimodal_bert",
        label_name="recommended",
        text_name=["title", "review_text"],
        cat_field_list=["division_name", "department_name", "class_name"],
        tab_field_list=["age", "positive_feedback_count"],
        tokenizer=minilm,
        max_sen_len=128,
        max_epochs=1,
        batch_size=32,
        num_channels=None,
        embedding_dim=None,
    )
    assert job.run() == 0, job.failure
    assert json.loads((job.output / "metrics.json").read_text())["splits"]["val"]["metrics"]["auroc"] > 0.75
