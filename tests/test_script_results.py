"""A script sets the results of an earlier run aside until it has written its own, and touches nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from fusionzoo.contracts import (
    MODEL_EVALUATION_CONTRACT,
    TABULAR_PREPROCESS_CONTRACT,
    XGBOOST_TRAIN_CONTRACT,
    ScriptContract,
)
from fusionzoo.errors import ZooError
from fusionzoo.sagemaker import run_script_job
from sagemaker_helpers import run_in_folder

RESULTS: dict[str, tuple[str, ...]] = {
    "preprocess.py": (
        *("processing/train/part-00000.parquet", "processing/train/part-00001.parquet"),
        *("processing/val/part-00000.parquet", "processing/test/part-00000.parquet"),
        *(f"processing/report/{name}.json" for name in ("schema", "statistics", "suggested_hyperparameters")),
    ),
    "evaluate.py": (
        *("processing/evaluation/metrics.json", "processing/evaluation/evaluation.json"),
        *("processing/evaluation/plots/test_roc.png", "processing/predictions/test_predictions.csv"),
    ),
    "train_xgboost.py": (
        *("model/xgboost_model.json", "model/text_components.npz", "model/preprocessor.json", "model/tokenizer.json"),
        *("model/hyperparameters.json", "output/data/metrics.json", "output/data/val_predictions.csv"),
    ),
}
LAST = {
    "preprocess.py": "processing/report/schema.json",
    "evaluate.py": "processing/evaluation/metrics.json",
    "train_xgboost.py": "output/data/metrics.json",
}
CONTRACTS = (TABULAR_PREPROCESS_CONTRACT, MODEL_EVALUATION_CONTRACT, XGBOOST_TRAIN_CONTRACT)
KEPT = (
    *("processing/train/mine.csv", "processing/evaluation/notes.txt", "output/data/mine.json", "model/code/my.py"),
    *("processing/predictions/new_predictions.csv", "output/data/new_predictions.csv", "processing/val/my.parquet"),
)
each_contract = pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.entry_point)


def run(root: Path, contract: ScriptContract, job: Callable[[Path], None]) -> int:
    failure = "failure" if contract is XGBOOST_TRAIN_CONTRACT else "message"
    return run_script_job(job, contract, failure, {"SAGEMAKER_BASE_DIR": str(root)})


def fail(root: Path) -> None:
    raise ZooError("a typo in the settings")


def write_files(root: Path, names: Iterable[str], content: str = "of an earlier run") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def list_files(root: Path) -> set[str]:
    files = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return files - {"output/message", "output/failure"}


def list_aside(names: Iterable[str]) -> set[str]:
    """Return where files of output folders are while a run has not written its own."""
    depth = {"model": 1}
    parts = [(name.split("/"), depth.get(name.split("/")[0], 2)) for name in names]
    return {"/".join([*part[:length], "_earlier_run", *part[length:]]) for part, length in parts}


@each_contract
def test_failed_runs_leave_earlier_results_in_other_folders_only(contract: ScriptContract, tmp_path: Path) -> None:
    results = RESULTS[contract.entry_point]
    write_files(tmp_path, [*results, *KEPT])
    for _ in range(2):
        assert run(tmp_path, contract, fail) == 1
        assert list_files(tmp_path) == {*KEPT, *list_aside(results)}


@each_contract
def test_a_run_that_succeeds_replaces_earlier_results(contract: ScriptContract, tmp_path: Path) -> None:
    results = RESULTS[contract.entry_point]
    write_files(tmp_path, [*results, *KEPT, *list_aside(results)])
    assert run(tmp_path, contract, lambda root: write_files(root, results[1:], "new")) == 0
    assert list_files(tmp_path) == {*KEPT, *results[1:]}
    assert {(tmp_path / name).read_text() for name in results[1:]} == {"new"}


@each_contract
def test_incomplete_results_are_deleted_and_older_complete_ones_stay(contract: ScriptContract, tmp_path: Path) -> None:
    results = RESULTS[contract.entry_point]
    write_files(tmp_path, list_aside(results), "complete")
    write_files(tmp_path, [name for name in results if name != LAST[contract.entry_point]])
    assert run(tmp_path, contract, fail) == 1
    assert list_files(tmp_path) == list_aside(results)
    assert {(tmp_path / name).read_text() for name in list_aside(results)} == {"complete"}


@each_contract
def test_only_the_last_complete_results_are_kept(contract: ScriptContract, tmp_path: Path) -> None:
    results = RESULTS[contract.entry_point]
    write_files(tmp_path, [*list_aside(results), *list_aside([str(Path(results[0]).with_name("old"))])])
    write_files(tmp_path, results, "the last ones")
    assert run(tmp_path, contract, fail) == 1
    assert list_files(tmp_path) == list_aside(results)
    assert {(tmp_path / name).read_text() for name in list_aside(results)} == {"the last ones"}


@each_contract
def test_a_run_that_is_killed_while_it_sets_results_aside_loses_no_file(
    contract: ScriptContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    results = RESULTS[contract.entry_point]
    for moves in range(len(results)):
        root, done = tmp_path / str(moves), list[Path]()

        def move(source: Path, target: Path, done: list[Path] = done, moves: int = moves) -> None:
            if len(done) == moves:
                raise Killed
            done.append(source.replace(target))

        write_files(root, results)
        with monkeypatch.context() as patches:
            patches.setattr(shutil, "move", move)
            assert run(root, contract, fail) == 1
        assert run(root, contract, fail) == 1
        assert list_files(root) == list_aside(results)


@each_contract
def test_a_run_at_the_same_time_is_refused_and_changes_nothing(contract: ScriptContract, tmp_path: Path) -> None:
    statuses: list[int] = []

    def run_another(root: Path) -> None:
        write_files(root, RESULTS[contract.entry_point], "of this run")
        statuses.append(run(root, contract, fail))
        assert not (root / "output/message").exists()
        assert not (root / "output/failure").exists()

    assert run(tmp_path, contract, run_another) == 0
    assert statuses == [1]
    assert list_files(tmp_path) == set(RESULTS[contract.entry_point])


def test_earlier_results_that_cannot_be_deleted_do_not_fail_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, os.strerror(13), str(path))

    results = RESULTS["evaluate.py"]
    write_files(tmp_path, results)
    with monkeypatch.context() as patches:
        patches.setattr(shutil, "rmtree", refuse)
        assert run(tmp_path, MODEL_EVALUATION_CONTRACT, lambda root: write_files(root, results, "new")) == 0
    assert "cannot be written: Permission denied" in capsys.readouterr().out
    assert (tmp_path / results[0]).read_text() == "new"


def test_neither_training_script_damages_the_model_of_the_other(tmp_path: Path) -> None:
    baseline = [*RESULTS["train_xgboost.py"]]
    network = [*baseline[2:], "model/manifest.json", "model/model.pth", "output/data/plots/val_roc.png"]
    write_files(tmp_path / "a", network)
    assert run(tmp_path / "a", XGBOOST_TRAIN_CONTRACT, lambda root: pytest.fail("the job began")) == 1
    assert list_files(tmp_path / "a") == set(network)
    assert "has a model of train.py (manifest.json)" in (tmp_path / "a/output/failure").read_text()
    write_files(tmp_path / "b", baseline)
    status, failure = run_in_folder(lambda paths: pytest.fail("the job began"), tmp_path / "b")
    assert (status, "has a model of train_xgboost.py (xgboost_model.json)" in failure) == (1, True)
    assert list_files(tmp_path / "b") == set(baseline)


@each_contract
def test_the_message_of_an_earlier_run_does_not_stay_if_an_output_folder_is_not_writable(
    contract: ScriptContract, tmp_path: Path
) -> None:
    name = "failure" if contract is XGBOOST_TRAIN_CONTRACT else "message"
    write_files(tmp_path, [f"output/{name}"])
    write_files(tmp_path, [str(Path(LAST[contract.entry_point]).parent)], "a file where the folder has to be")
    assert run(tmp_path, contract, fail) == 1
    assert "cannot be written" in (tmp_path / f"output/{name}").read_text()
