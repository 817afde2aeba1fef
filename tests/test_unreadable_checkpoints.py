"""A checkpoint that cannot be read is not called damaged: the job ends, and deletes nothing."""

from __future__ import annotations

import bz2
import errno
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fusionzoo import errors
from fusionzoo.training.checkpointing.checkpoint_io import check_intact, load_weights
from fusionzoo.training.checkpointing.resume_point import find_resume_point
from shop import JobFolder

NAMES = ["last.ckpt", "before-last.ckpt", "incoming.ckpt", "best.ckpt", "top-7.ckpt"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> JobFolder:
    job = JobFolder(tmp_path_factory.mktemp("finished")).fill(rows=80, max_epochs=1)
    assert job.run() == 0
    return job


@pytest.fixture
def copy(finished: JobFolder, tmp_path: Path) -> JobFolder:
    """A copy of a finished job."""
    return JobFolder(Path(shutil.copytree(finished.root, tmp_path / "ml")))


def read_checkpoints(job: JobFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (job.root / "checkpoints").glob("*.ckpt")}


def fail_for(name: str, error: Exception) -> Callable[..., Any]:
    """Return a replacement of `zipfile.ZipFile.testzip` that fails for the checkpoint with this name."""
    testzip = zipfile.ZipFile.testzip

    def fail(self: zipfile.ZipFile) -> Any:
        if Path(str(self.filename)).name == name:
            raise error
        return testzip(self)

    return fail


@pytest.mark.parametrize("name", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EACCES, "let this user read it"),
        (errno.EIO, "check the disk"),
        (errno.ESTALE, "mount the file system again"),
        (errno.EMFILE, "ulimit -n"),
        (errno.ENETDOWN, "remove the cause"),
    ],
)
def test_a_checkpoint_that_cannot_be_read_is_an_error_with_a_fix(
    name: str, number: int, fix: str, copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(zipfile.ZipFile, "testzip", fail_for(name, OSError(number, os.strerror(number))))
    with pytest.raises(errors.CheckpointFileError) as caught:
        find_resume_point(copy.root / "checkpoints")
    message, found_fix = caught.value.parts
    assert (
        f"{copy.root}/checkpoints/{name} cannot be read: {os.strerror(number)} ({errno.errorcode[number]})" in message
    )
    assert fix in found_fix


def test_a_job_with_a_checkpoint_that_cannot_be_read_ends_and_deletes_nothing(
    copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_checkpoints(copy)
    monkeypatch.setattr(zipfile.ZipFile, "testzip", fail_for("last.ckpt", OSError(errno.EIO, "Input/output error")))
    assert copy.run() == 1
    assert "last.ckpt cannot be read: Input/output error (EIO)" in copy.failure
    assert "Fix: check the disk" in copy.failure
    assert read_checkpoints(copy) == before
    monkeypatch.undo()
    assert copy.run() == 0


@pytest.mark.parametrize(
    "message",
    [
        "unable to mmap 4096 bytes from file </x/last.ckpt>: Cannot allocate memory (12)",
        "unable to open file </x/last.ckpt> in read-only mode: Too many open files (24)",
    ],
)
def test_a_checkpoint_that_torch_cannot_open_is_not_called_damaged(
    message: str, copy: JobFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch raises RuntimeError instead of OSError."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr(torch, "load", fail)
    for read in (find_resume_point, lambda folder: load_weights(folder / "best.ckpt")):
        with pytest.raises(errors.CheckpointFileError, match="unable to"):
            read(copy.root / "checkpoints")


# --- what is not a file


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("make", "kind"), [(Path.mkdir, "a folder"), (os.mkfifo, "a named pipe")])
def test_what_is_not_a_file_is_an_error(make: Callable[[Path], None], kind: str, name: str, copy: JobFolder) -> None:
    folder = copy.root / "checkpoints"
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    with pytest.raises(errors.CheckpointFileError, match=f"{name} is {kind}, but a checkpoint is a file"):
        find_resume_point(folder)


def test_a_job_with_a_folder_in_place_of_a_checkpoint_ends_before_it_trains(copy: JobFolder) -> None:
    (copy.root / "checkpoints/last.ckpt").unlink()
    (copy.root / "checkpoints/last.ckpt").mkdir()
    before = sorted(path.name for path in (copy.root / "checkpoints").iterdir())
    shutil.rmtree(copy.root / "input/data")
    assert copy.run() == 1
    assert "last.ckpt is a folder" in copy.failure
    assert sorted(path.name for path in (copy.root / "checkpoints").iterdir()) == before


@pytest.mark.parametrize("name", ["hyperparameters.json", "resourceconfig.json", "inputdataconfig.json"])
def test_a_pipe_in_place_of_a_configuration_file_is_an_error(name: str, copy: JobFolder) -> None:
    path = copy.root / "input/config" / name
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    assert copy.run() == 1
    assert name in copy.failure
    assert "it is a named pipe, not a file" in copy.failure


# --- what is damaged


def write_damaged_bzip2(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("archive/data.pkl", bytes(1000))
    content = file.read_bytes()
    file.write_bytes(content.replace(bz2.compress(bytes(1000))[:4], b"BZh0"))


def write_end_of_archive(offset: int) -> Callable[[Path], None]:
    def write(file: Path) -> None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", b"x")
        content = bytearray(file.read_bytes())
        content[offset:] = bytes(byte ^ 0xFF for byte in content[offset:])
        file.write_bytes(content)

    return write


@pytest.mark.parametrize("write", [write_damaged_bzip2, *(write_end_of_archive(-size) for size in range(3, 22))])
def test_a_damaged_archive_is_damaged_whatever_zipfile_raises(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path / "last.ckpt")
    with pytest.raises(ValueError, match=r"last\.ckpt cannot be loaded"):
        check_intact(tmp_path / "last.ckpt")
    assert find_resume_point(tmp_path) is None
