"""A checkpoint folder with files of different times, as an interrupted copy or a kill between two files leaves it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.training.checkpointing.last_checkpoint import LastCheckpoint
from fusionzoo.training.checkpointing.resume_point import find_resume_point
from resume_helpers import copy_input, read_results
from shop import JobFolder

SETTINGS: dict[str, Any] = {
    "max_epochs": 4,
    "val_check_interval": 0.5,
    "average_checkpoints": 2,
    "early_stop_patience": 20,
    "lr": 0.02,
}


@dataclass(frozen=True)
class RecordedJob:
    """A job that ran to its end, its results, and a copy of its checkpoint folder after each save."""

    job: JobFolder
    results: dict[str, Any]
    snapshots: list[Path]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedJob:
    job = JobFolder(tmp_path_factory.mktemp("recorded")).fill(**SETTINGS)
    snapshots: list[Path] = []
    save = LastCheckpoint._save

    def save_and_copy(self: LastCheckpoint, trainer: Any) -> None:
        save(self, trainer)
        snapshots.append(Path(shutil.copytree(job.root / "checkpoints", job.root / f"snapshots/{len(snapshots)}")))

    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(LastCheckpoint, "_save", save_and_copy)
        assert job.run() == 0
    return RecordedJob(job, read_results(job), snapshots)


def restore(recorded: RecordedJob, folder: Path, snapshot: Path) -> JobFolder:
    job = copy_input(recorded.job, folder)
    shutil.copytree(snapshot, job.root / "checkpoints")
    return job


def list_best_versions(recorded: RecordedJob) -> list[int]:
    """Return the first snapshot of each version of best.ckpt."""
    contents = [(snapshot / "best.ckpt").read_bytes() for snapshot in recorded.snapshots]
    return [number for number, content in enumerate(contents) if number == 0 or content != contents[number - 1]]


def test_an_older_best_checkpoint_is_never_shipped_for_a_newer_one(
    recorded: RecordedJob, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    versions = list_best_versions(recorded)
    assert len(versions) > 2
    for number, newer in enumerate([*versions[1:], len(recorded.snapshots) - 1]):
        job = restore(recorded, tmp_path / str(number), recorded.snapshots[newer])
        shutil.copy(recorded.snapshots[versions[0]] / "best.ckpt", job.root / "checkpoints/best.ckpt")
        assert job.run() == 0
        assert "Ignoring the damaged checkpoint" in capsys.readouterr().out
        assert read_results(job) == recorded.results


def test_a_newer_best_checkpoint_than_the_last_one_is_replaced_when_the_job_resumes(
    recorded: RecordedJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for version in list_best_versions(recorded)[1:]:
        job = restore(recorded, tmp_path / str(version), recorded.snapshots[version - 1])
        shutil.copy(recorded.snapshots[version] / "best.ckpt", job.root / "checkpoints/best.ckpt")
        assert job.run() == 0
        assert "Resuming from" in capsys.readouterr().out
        assert read_results(job) == recorded.results


def test_a_finished_job_with_the_best_checkpoint_of_a_longer_one_trains_again(
    recorded: RecordedJob, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = restore(recorded, tmp_path, recorded.snapshots[-1])
    longer = JobFolder(tmp_path / "longer").fill(**{**SETTINGS, "max_epochs": 8})
    shutil.copytree(recorded.snapshots[-1], longer.root / "checkpoints")
    assert longer.run() == 0
    if (longer.root / "checkpoints/best.ckpt").read_bytes() == (recorded.snapshots[-1] / "best.ckpt").read_bytes():
        pytest.fail("the longer training has to find better weights")
    capsys.readouterr()
    shutil.copy(longer.root / "checkpoints/best.ckpt", job.root / "checkpoints/best.ckpt")
    assert job.run() == 0
    assert "is older than best.ckpt. Training starts from the beginning" in capsys.readouterr().out
    assert read_results(job) == recorded.results


def test_the_checkpoint_before_the_last_one_is_always_usable(recorded: RecordedJob, tmp_path: Path) -> None:
    replaced = set()
    for number, snapshot in enumerate(recorded.snapshots[:-1]):
        if not (snapshot / "before-last.ckpt").exists():
            continue
        folder = Path(shutil.copytree(snapshot, tmp_path / str(number)))
        (folder / "last.ckpt").unlink()
        found = find_resume_point(folder)
        assert found is not None
        assert found.file == folder / "before-last.ckpt"
        replaced |= {file.name for file in folder.glob("top-*.ckpt")}
    assert len(replaced) > 3, "the best two validations have changed several times"


def test_weights_that_no_checkpoint_refers_to_are_deleted(recorded: RecordedJob, tmp_path: Path) -> None:
    last = recorded.snapshots[-1]
    assert len(list((recorded.job.root / "checkpoints").glob("top-*.ckpt"))) == 2
    job = restore(recorded, tmp_path, recorded.snapshots[1])
    shutil.copy(next(last.glob("top-*.ckpt")), job.root / "checkpoints/top-1.ckpt")
    assert job.run() == 0
    assert {file.name for file in (job.root / "checkpoints").iterdir()} == {
        file.name for file in (recorded.job.root / "checkpoints").iterdir()
    }
    assert read_results(job) == recorded.results
