"""`init_from` starts a training from a trained model: its weights are matched by value, and what is new is listed."""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from encoder_folders import save_encoder
from frozen_helpers import FROZEN, PreparedJob, prepare_job
from fusionzoo import errors
from fusionzoo.nn.inference import predict_scores
from fusionzoo.nn.schema import InputSpec
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.tasks.class_objective import Softmax
from fusionzoo.training.module import TrainingModule
from fusionzoo.training.warm_start.initialization import start_from_model
from fusionzoo.training.warm_start.parameter_axes import Axis, describe_tensors
from fusionzoo.training.warm_start.source_model import SourceModel, locate_model
from fusionzoo.training.warm_start.weight_transfer import match_ids
from process_helpers import copy_job, read_log, read_metrics, run_in_child
from resume_helpers import read_results, resume, run_until_killed
from shop import JobFolder, shop_rows

TABLE = "towers.table.fields"


def make_source(trained: PreparedJob) -> SourceModel:
    """Return a prepared job as a trained model, with random weights."""
    torch.manual_seed(7)
    weights = {
        name: 0.2 * torch.randn_like(value) if value.is_floating_point() else value
        for name, value in trained.built.model.state_dict().items()
    }
    weights |= {name: value for name, value in trained.built.model.named_buffers() if name in weights}
    trained.built.model.load_state_dict(weights)
    return SourceModel(
        Path("trained"), trained.architecture, trained.data.preprocessor, trained.built.model.state_dict(), "digest"
    )


def prepare(folder: Path, rename_countries: bool = False, **settings: Any) -> PreparedJob:
    job = JobFolder(folder).fill().settings(**settings)
    if rename_countries:  # other values, in another order; the numbers and the texts are the same
        rows = shop_rows(160)
        rows.loc[rows.index % 3 > 0, "country"] = rows["country"].replace({"de": "es", "fr": "es"})
        job.channel("train", rows)
    return prepare_job(job)


def start(job: PreparedJob, source: SourceModel) -> dict[str, Any]:
    return start_from_model(job.built, job.architecture, job.data.preprocessor, source)


def score(job: PreparedJob) -> np.ndarray:
    return predict_scores(job.built.model.eval(), Softmax(), job.data.splits["val"], 16)


@pytest.mark.parametrize("model_class", ["multimodal_cnn", "multimodal_gate_fusion", "multimodal_moe"])
def test_categories_classes_and_tokens_are_matched_by_value(model_class: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"model_class": model_class, "wide_ngrams": 0}
    settings |= {"text_encoder": "cnn"} if model_class != "multimodal_cnn" else {}
    trained = prepare(tmp_path / "trained", **settings)
    source = make_source(trained)
    job = prepare(tmp_path / "job", rename_countries=True, classes=[1, 0], **settings)
    report = start(job, source)
    old, new = (p.data.preprocessor.categories[0].values for p in (trained, job))
    assert old != new
    assert set(old) < set(new)
    partly = report["partly_reused"]
    assert list(partly.values()) == ["5 of 6 ids of country"]  # of them MISSING and UNKNOWN
    assert report["new"] == {}
    assert report["not_used"] == []
    assert report["normalization"] == {}
    assert np.abs(score(job) - score(trained)[:, ::-1]).max() < 1e-5


def test_the_dimensions_that_ids_index_are_found_without_help_of_the_plugin(tmp_path: Path) -> None:
    job = prepare(tmp_path / "job")
    state = torch.get_rng_state()
    layouts = describe_tensors(job.architecture, InputSpec.from_preprocessor(job.data.preprocessor))
    assert torch.equal(torch.get_rng_state(), state)
    axes = {name: [axis for axis in layout.axes if axis] for name, layout in layouts.items()}
    assert {name: found for name, found in axes.items() if found and ".scores." not in name} == {
        "towers.text_head.wide.scale": [Axis("output")],
        f"{TABLE}.categories.0.weight": [Axis("category", "country")],
        "text_encoder.words.lookup.weight".replace("text", "towers.text"): [Axis("token")],
        **{
            f"{head}.3.{kind}": [Axis("output")]
            for head in ("towers.text_head.deep", "towers.table_head", "classify")
            for kind in ("weight", "bias")
        },
    }
    columns = {name for name, layout in layouts.items() if layout.depends_on_columns}
    assert {f"{TABLE}.missing", "towers.table.project.0.weight"} <= columns
    assert f"{TABLE}.categories.0.weight" not in columns
    assert all(TABLE in name for name, layout in layouts.items() if layout.is_fitted)
    assert any(layout.is_fitted for layout in layouts.values())


def test_of_a_table_with_other_columns_only_what_is_tied_to_them_is_new(tmp_path: Path) -> None:
    source = make_source(prepare(tmp_path / "trained"))
    job = prepare(tmp_path / "job", cat_field_list=["visits", "country"], tab_field_list=["price"])
    before = {name: value.clone() for name, value in job.built.model.state_dict().items()}
    report = start(job, source)
    after = job.built.model.state_dict()
    assert f"{TABLE}.categories.1.weight" in report["reused"]  # that of country, which was the first category
    assert torch.equal(after[f"{TABLE}.categories.1.weight"], source.weights[f"{TABLE}.categories.0.weight"])
    assert report["new"][f"{TABLE}.missing"] == "the table has other columns"
    assert report["new"][f"{TABLE}.categories.0.weight"] == "the trained model does not have it"
    assert "classify.3.weight" in report["reused"]
    assert all(torch.equal(after[name], before[name]) for name in report["new"])


def test_the_log_names_classes_columns_and_categories_and_no_tensor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = make_source(prepare(tmp_path / "trained", wide_ngrams=0))
    folder = JobFolder(tmp_path / "job").fill().settings(wide_ngrams=0, tab_field_list=["price"], classes=[1, 7])
    for name, rows in (("train", 160), ("val", 48), ("test", 48)):
        frame = shop_rows(rows)
        country = frame["country"].replace({"fr": "es"})
        folder.channel(name, frame.assign(country=country, target=frame["target"].replace({0: 7})))
    job = prepare_job(folder)
    caplog.clear()
    caplog.set_level("INFO", "fusionzoo")
    report = start(job, source)
    lines = [message.removeprefix("init_from: ") for message in caplog.messages if message.startswith("init_from: ")]
    assert "classes: 1 reused; new: '7'; not used: '0'" in lines
    assert "values of 'country': 2 reused; new: 'es'; not used: 'fr'" in lines
    assert "columns: 2 in both models; not used: 'visits'; the layers that join all columns are new" in lines
    assert any(line.startswith("tokens: ") for line in lines)
    counts = f"{len(report['reused'])} reused, {len(report['partly_reused'])} partly reused, {len(report['new'])} new ("
    assert counts in lines[-1]
    assert "the table has other columns: " in lines[-1]
    assert "towers." not in caplog.text
    assert "classify.3.weight" in report["partly_reused"]


def test_a_changed_normalization_of_numbers_is_stated(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    source = make_source(prepare(tmp_path / "trained"))
    folder = JobFolder(tmp_path / "job").fill()
    folder.channel("train", shop_rows(160).assign(price=lambda rows: rows["price"] * 10))
    report = start(prepare_job(folder), source)
    assert list(report["normalization"]) == ["price"]
    assert "the normalization of 'price' differs from that of the trained model: mean" in caplog.text


def test_another_width_is_new_and_nothing_in_common_is_an_error(tmp_path: Path) -> None:
    source = make_source(prepare(tmp_path / "trained"))
    report = start(prepare(tmp_path / "job", hidden_common_dim=24), source)
    assert report["new"]["classify.3.weight"] == "its shape is [2, 24], and that of the trained model is [2, 16]"
    with pytest.raises(errors.InitFromError, match="no weight of the model in trained fits"):
        start(prepare(tmp_path / "job"), SourceModel(**{**source.__dict__, "weights": {}}))


def test_pretrained_weights_are_not_loaded_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = save_encoder(tmp_path / "encoder")
    settings = {"model_class": "multimodal_bert", "encoder_name": encoder, "tokenizer": None, "num_channels": None}
    source = make_source(prepare(tmp_path / "trained", **settings))
    job = prepare(tmp_path / "job", **settings)
    calls: list[Any] = []
    monkeypatch.setattr(type(job.architecture), "load_pretrained", lambda self, built: calls.append(built))
    start(job, source)
    assert calls == []
    names = [name for name in source.weights if "text_encoder" in name]
    partial = SourceModel(**{**source.__dict__, "weights": {n: v for n, v in source.weights.items() if n != names[-1]}})
    start(job, partial)
    assert len(calls) == 1


def test_ids_without_a_value_are_not_matched() -> None:
    new, old = match_ids(["a", None, "c"], [None, "c", "b"])
    assert (new.tolist(), old.tolist()) == ([2], [1])


# --- whole jobs


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("trained")).fill(
        max_epochs=1, onnx="off", model_class="multimodal_gate_fusion", **FROZEN, seed=7
    )
    assert run_in_child(job.run, job.root / "log.txt") == 0
    return job


def test_a_killed_job_resumes_bit_identically_without_the_trained_model(trained: JobFolder, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained.model, tmp_path / "trained"))
    settings = {"init_from": str(model), "checkpoint_every_n_steps": 2, "seed": 42}  # other fresh weights
    uninterrupted, job = (copy_job(trained, tmp_path / name, **settings) for name in ("one", "two"))
    assert run_in_child(uninterrupted.run, uninterrupted.root / "log.txt") == 0, read_log(uninterrupted)
    report = read_metrics(uninterrupted)["training"]["init_from"]
    assert (report["new"], report["partly_reused"], report["place"]) == ({}, {}, str(model))
    assert "reused" in read_log(uninterrupted)
    run_until_killed(job, TrainingModule, "training_step", 5)
    shutil.rmtree(model)
    assert "is absent, and not needed to resume" in resume(job)
    assert read_results(job) == read_results(uninterrupted)
    shutil.copytree(uninterrupted.model, model)  # another model
    assert job.run() == 1
    assert "model of init_from: was" in job.failure


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"init_from": "/nowhere/model"}, "init_from: /nowhere/model does not exist"),
        ({"init_from": "model"}, "input/data/model does not exist"),
        ({"model_class": "cnn"}, "has model_class 'multimodal_gate_fusion', and this job has 'cnn'"),
        (
            {"model_class": "multimodal_gate_fusion", "text_encoder": "lstm"},
            "has text_encoder 'bert', and this job has",
        ),
    ],
)
def test_a_model_that_does_not_fit_is_an_error_before_data_is_read(
    changes: dict[str, Any], message: str, trained: JobFolder, tmp_path: Path
) -> None:
    if "text_encoder" in changes:
        changes = {**changes, "num_channels": None}
    job = JobFolder(tmp_path / "ml").settings(**{"init_from": str(trained.model), **changes})
    assert job.run() == 1
    assert message in job.failure
    assert "Fix:" in job.failure


def test_a_damaged_model_is_an_error_that_names_the_file(trained: JobFolder, tmp_path: Path) -> None:
    model = Path(shutil.copytree(trained.model, tmp_path / "trained"))
    content = bytearray((model / "model.pth").read_bytes())
    content[len(content) // 2] ^= 1
    (model / "model.pth").write_bytes(content)
    job = JobFolder(tmp_path / "ml").settings(init_from=str(model))
    assert job.run() == 1
    assert "model.pth" in job.failure


# --- model.tar.gz


def test_the_archive_in_the_channel_model_is_unpacked(trained: JobFolder, tmp_path: Path) -> None:
    job = copy_job(trained, tmp_path / "ml", init_from="model")
    archive = job.root / "input/data/model/model.tar.gz"
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(trained.model, arcname=".")
    assert job.run() == 0
    report = read_metrics(job)["training"]["init_from"]
    assert (report["new"], report["place"]) == ({}, str(archive))
    assert {path.name for path in job.model.iterdir()} == {path.name for path in trained.model.iterdir()}
    assert json.loads((job.model / "hyperparameters.json").read_text())["init_from"] == "model"


def test_a_folder_named_model_goes_before_the_channel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    paths = Paths(tmp_path / "ml", tmp_path / "checkpoints", tmp_path / "cache")
    assert locate_model("model/mine", paths) == tmp_path / "ml/input/data/model/mine"
    (tmp_path / "model/mine").mkdir(parents=True)
    assert locate_model("model/mine", paths) == Path("model/mine")
