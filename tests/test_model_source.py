"""A file that a setting names is in no folder that the job replaces: it would be deleted before it is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fusionzoo import errors
from fusionzoo.sagemaker.model_source import check_sources_are_not_outputs
from fusionzoo.sagemaker.paths import Paths
from shop import JobFolder


@pytest.mark.parametrize(
    "place",
    [
        "ml/model",
        "ml/model/.",
        "link",
        "ml/model/model.tar.gz",
        "{tmp_path}/ml/model",
        "ml/output/data/earlier_run/model",
    ],
)
def test_the_model_folder_of_the_job_itself_is_refused_and_nothing_is_deleted(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = JobFolder(tmp_path / "ml").settings(init_from=place.format(tmp_path=tmp_path))
    job.model.mkdir()
    (tmp_path / "link").symlink_to(job.model)
    for name in ("model.pth", "manifest.json", "model.tar.gz"):
        (job.model / name).write_text("trained for days")
    assert job.run() == 1
    assert "is in a folder of this job, which replaces the files there" in job.failure
    assert {file.read_text() for file in job.model.iterdir()} == {"trained for days"}


@pytest.mark.parametrize("name", ["tokenizer", "encoder_name", "embeddings", "setting_of_a_plugin"])
@pytest.mark.parametrize(
    "place", ["ml/model/tokenizer.json", "ml/model/", "ml/output/data/earlier_run/model/words.vec"]
)
def test_every_setting_that_names_a_file_in_the_model_folder_is_refused_and_nothing_is_deleted(
    name: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    job = JobFolder(tmp_path / "ml").settings(**{name: place})
    for file in (job.model / "tokenizer.json", tmp_path / "ml/output/data/earlier_run/model/words.vec"):
        file.parent.mkdir(parents=True)
        file.write_text("the user's")
    assert job.run() == 1
    assert "FZ-J052" in job.failure
    assert name in job.failure
    assert (job.model / "tokenizer.json").read_text() == "the user's"


def test_a_column_may_have_the_name_of_the_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    paths.model.mkdir()
    paths.hyperparameters.parent.mkdir(parents=True)
    paths.hyperparameters.write_text(json.dumps({"text_name": "model", "tokenizer": "s3://bucket/tokenizer.json"}))
    monkeypatch.chdir(tmp_path)
    check_sources_are_not_outputs(paths)


@pytest.mark.parametrize(
    ("init_from", "message", "is_kept"),
    [
        ("s3://bucket/model.tar.gz", "init_from is the URL s3://bucket/model.tar.gz", True),
        ("model", "input/data/model does not exist", False),  # the channel, not the model folder
    ],
)
def test_an_earlier_model_stays_if_the_place_is_refused_before_the_job_begins(
    init_from: str, message: str, is_kept: bool, tmp_path: Path
) -> None:
    job = JobFolder(tmp_path / "ml").settings(init_from=init_from)
    job.model.mkdir()
    (job.model / "model.pth").write_text("earlier")
    assert job.run() == 1
    assert message in job.failure
    assert (job.model / "model.pth").exists() == is_kept


@pytest.mark.parametrize("main", ["{}", '{"init_from": null}', '{"model_class": "cnn"}', "{"])
def test_only_the_settings_that_the_job_reads_name_its_source(main: str, tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    paths.model.mkdir()
    for file, text in (
        (paths.hyperparameters, main),
        (paths.code_hyperparameters, json.dumps({"init_from": str(paths.model)})),
    ):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    if main == "{}":
        with pytest.raises(errors.PathError, match="FZ-J052"):
            check_sources_are_not_outputs(paths)
    else:
        check_sources_are_not_outputs(paths)
