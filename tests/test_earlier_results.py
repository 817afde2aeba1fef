"""A run sets the results of an earlier run in the same folders aside, and touches nothing else."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import ZooError
from fusionzoo.sagemaker import earlier_results
from sagemaker_helpers import make_failing_job, run_in_folder

EARLIER_RESULTS = (
    *(f"model/{name}" for name in ("model.pth", "model_artifacts.pth", "model.onnx", "onnx_check.json")),
    *(f"model/{name}" for name in ("preprocessor.json", "tokenizer.json", "hyperparameters.json", "manifest.json")),
    *(f"output/data/{name}" for name in ("metrics.json", "predict_results.pth", "plots/roc.png")),
    *(f"output/data/{name}" for name in ("val_predictions.csv", "test_predictions.parquet", "tensorboard_eval/events")),
)
KEPT = (
    *("model/code/inference.py", "model/notes.txt", "model/.tmp-mine"),
    *("output/data/tensorboard/events", "output/data/mine.json", "checkpoints/last.ckpt"),
    "output/data/new_predictions.csv",
)
LEFTOVERS = ("model/.tmp-0123456789abcdef/model.onnx", "output/data/.staging-0123456789abcdef/metrics.json")


def write_files(base: Path, names: Iterable[str]) -> None:
    for name in names:
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text("of an earlier run")


def list_files(base: Path) -> set[str]:
    return {str(path.relative_to(base)) for path in base.rglob("*") if path.is_file()}


ASIDE = {
    *(f"output/data/earlier_run/{name}" for name in EARLIER_RESULTS if name.startswith("model/")),
    *(name.replace("data/", "data/earlier_run/") for name in EARLIER_RESULTS if name.startswith("output/")),
}
INCOMPLETE = [name for name in EARLIER_RESULTS if name != "model/manifest.json"]
LOCK = {"output/data/.job.lock", "output/data/.job.json"}


@pytest.mark.parametrize("error", [ZooError("a typo in the settings"), RuntimeError("a bug"), KeyboardInterrupt()])
def test_a_failed_run_leaves_an_earlier_model_in_another_folder_only(error: BaseException, tmp_path: Path) -> None:
    write_files(tmp_path, [*EARLIER_RESULTS, *KEPT, *LEFTOVERS])
    assert run_in_folder(make_failing_job(error), tmp_path)[0] == 1
    assert list_files(tmp_path) == {*KEPT, *ASIDE, "output/failure"}


def test_results_of_an_earlier_run_are_set_aside_before_the_job_begins(tmp_path: Path) -> None:
    write_files(tmp_path, [*EARLIER_RESULTS, *KEPT])
    found: list[set[str]] = []
    assert run_in_folder(lambda paths: found.append(list_files(tmp_path)), tmp_path)[0] == 0
    assert found[0] - set(KEPT) == {*ASIDE, *LOCK}


def test_an_incomplete_model_of_an_earlier_run_is_deleted_and_an_older_complete_one_stays(tmp_path: Path) -> None:
    write_files(tmp_path, [*INCOMPLETE, *KEPT, *ASIDE])
    assert run_in_folder(make_failing_job(ZooError("a typo")), tmp_path)[0] == 1
    assert list_files(tmp_path) == {*KEPT, *ASIDE, "output/failure"}


def test_only_the_last_complete_model_is_kept(tmp_path: Path) -> None:
    write_files(tmp_path, [*EARLIER_RESULTS, *ASIDE, "output/data/earlier_run/plots/old.png"])
    (tmp_path / "model/model.pth").write_text("the last one")
    assert run_in_folder(make_failing_job(ZooError("a typo")), tmp_path)[0] == 1
    assert list_files(tmp_path) == {*ASIDE, "output/failure"}
    assert (tmp_path / "output/data/earlier_run/model/model.pth").read_text() == "the last one"


@pytest.mark.parametrize("moves", range(len(EARLIER_RESULTS)))
def test_a_run_that_is_killed_while_it_sets_a_model_aside_loses_no_file_of_it(
    moves: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    done: list[Path] = []

    def move(source: Path, target: Path) -> None:
        if len(done) == moves:
            raise Killed
        done.append(source.replace(target))

    write_files(tmp_path, EARLIER_RESULTS)
    with monkeypatch.context() as patches:
        patches.setattr(earlier_results.shutil, "move", move)
        assert run_in_folder(lambda paths: None, tmp_path)[0] == 1
    (tmp_path / "output/failure").unlink()
    assert run_in_folder(lambda paths: None, tmp_path) == (0, "")
    assert list_files(tmp_path) == ASIDE


def test_a_link_among_the_earlier_results_is_deleted_and_not_its_target(tmp_path: Path) -> None:
    write_files(tmp_path, ["elsewhere/roc.png", "elsewhere.onnx", "model/x", "output/data/x"])
    (tmp_path / "model/model.onnx").symlink_to(tmp_path / "elsewhere.onnx")
    (tmp_path / "model/model.pth").symlink_to(tmp_path / "nowhere")
    (tmp_path / "output/data/plots").symlink_to(tmp_path / "elsewhere")
    assert run_in_folder(lambda paths: None, tmp_path) == (0, "")
    assert list_files(tmp_path) == {"elsewhere/roc.png", "elsewhere.onnx", "model/x", "output/data/x"}
    assert not (tmp_path / "model/model.pth").is_symlink()


def test_an_earlier_model_that_cannot_be_deleted_fails_the_job(tmp_path: Path, monkeypatch: Any) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    write_files(tmp_path, ["model/model.onnx"])
    monkeypatch.setattr(earlier_results, "delete", refuse)
    status, failure = run_in_folder(lambda paths: None, tmp_path)
    assert status == 1
    assert "model cannot be written: Permission denied" in failure


def test_a_model_that_does_not_fit_where_it_is_set_aside_is_an_error_that_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_disk(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(source), None, str(target))

    write_files(tmp_path, EARLIER_RESULTS)
    monkeypatch.setattr(shutil, "move", fill_disk)
    status, failure = run_in_folder(lambda paths: None, tmp_path)
    assert (status, list_files(tmp_path)) == (1, {*EARLIER_RESULTS, "output/failure"})
    assert "output/data/earlier_run cannot be written: No space left on device" in failure
    assert "Traceback" not in failure


def test_the_failure_of_an_earlier_run_does_not_stay_if_the_output_folder_is_not_writable(tmp_path: Path) -> None:
    write_files(tmp_path, ["output/failure"])
    (tmp_path / "output/data").write_text("a file where the folder has to be")
    status, failure = run_in_folder(lambda paths: pytest.fail("the job began"), tmp_path)
    assert (status, "of an earlier run" in failure) == (1, False)
    assert "output/data cannot be written" in failure
