"""atomic_files.py: files are written completely or not at all, and every error has a fix."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from fusionzoo.atomic_files import (
    check_writable,
    delete_leftovers,
    staged_folder,
    temporary_folder,
    translate_write_errors,
    write_atomically,
)
from fusionzoo.errors import OutputError

MEGABYTE = 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of one megabyte."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"cannot mount a small file system here: {mounted.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)  # a torch.save that failed holds its file for a while


def read_files(folder: Path) -> dict[str, bytes]:
    """Return the content of every file below a folder, including hidden files."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def save_by_path(path: Path) -> None:
    with translate_write_errors(path):
        torch.save({"w": torch.zeros(MEGABYTE)}, path.with_name("other.pth"))


def stage(folder: Path, new: dict[str, bytes], error: Exception | None = None) -> None:
    """Stage these files, then raise `error` if there is one."""
    with staged_folder(folder) as staging:
        for name, content in new.items():
            write_atomically(staging / name, make_writer(content))
        if error is not None:
            raise error


def make_writer(content: bytes) -> Callable[[BinaryIO], None]:
    def write(file: BinaryIO) -> None:
        file.write(content)

    return write


# --- one file


def test_writing_a_file_creates_its_folder(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a" / "b" / "model.pth", make_writer(b"weights"))
    assert read_files(tmp_path) == {"a/b/model.pth": b"weights"}


def test_a_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    write_atomically(tmp_path / "model.pth", make_writer(b"old"))

    def breaks(file: BinaryIO) -> None:
        file.write(b"new, but only ha")
        raise KeyError("a bug")

    with pytest.raises(KeyError, match="a bug"):
        write_atomically(tmp_path / "model.pth", breaks)
    assert read_files(tmp_path) == {"model.pth": b"old"}


def test_the_old_file_is_kept_until_the_new_one_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    seen = []

    def write(file: BinaryIO) -> None:
        file.write(b"new")
        file.flush()
        seen.append(path.read_bytes())

    write_atomically(path, write)
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_a_file_has_the_permissions_of_the_umask_and_may_have_the_longest_name(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        write_atomically(tmp_path / ("n" * 255), make_writer(b"x"))
    finally:
        os.umask(before)
    assert (tmp_path / ("n" * 255)).stat().st_mode & 0o777 == 0o644


# --- a disk that is really full


WRITERS_THAT_FILL_THE_DISK = {
    "bytes": lambda path: write_atomically(path, make_writer(bytes(2 * MEGABYTE))),
    "torch.save": lambda path: write_atomically(path, lambda file: torch.save({"w": torch.zeros(MEGABYTE)}, file)),
    "torch.save by path": save_by_path,
}


@pytest.mark.parametrize("what", WRITERS_THAT_FILL_THE_DISK)
def test_the_error_for_a_full_disk_names_the_file_the_free_space_and_the_fix(small_disk: Path, what: str) -> None:
    path = small_disk / "model.pth"
    path.write_bytes(b"old")
    with pytest.raises(OutputError) as caught:
        WRITERS_THAT_FILL_THE_DISK[what](path)
    message = str(caught.value)
    assert message.startswith(f"{path} cannot be written")
    assert "free disk space" in message or "No space left on device (ENOSPC)" in message
    assert "MB" in message
    assert "Fix:" in message
    assert len(message) < 1024
    assert path.read_bytes() == b"old"
    if what != "torch.save by path":
        assert read_files(small_disk) == {"model.pth": b"old"}


def test_a_full_disk_during_staging_leaves_the_folder_unchanged(small_disk: Path) -> None:
    (small_disk / "metrics.json").write_bytes(b"old")
    with pytest.raises(OutputError) as caught:
        stage(small_disk, {"metrics.json": b"new", "model.pth": bytes(2 * MEGABYTE)})
    assert str(caught.value).startswith(f"{small_disk}/model.pth cannot be written: No space left on device (ENOSPC)")
    assert read_files(small_disk) == {"metrics.json": b"old"}


def test_a_disk_without_inodes_is_not_called_full(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", small_disk], check=True)
    (small_disk / "1").touch()
    (small_disk / "2").touch()
    for write in (check_writable, lambda folder: write_atomically(folder / "x", make_writer(b"x"))):
        with pytest.raises(OutputError, match="no free inodes") as caught:
            write(small_disk)
        assert "delete files" in str(caught.value)
    (small_disk / "2").unlink()
    with pytest.raises(OutputError, match="No space left on device"):
        write_atomically(small_disk / "x", make_writer(bytes(2 * MEGABYTE)))


def test_a_disk_without_inodes_for_the_move_of_staged_files_is_not_called_full(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=3", small_disk], check=True)  # itself, the staging folder, a file
    with pytest.raises(OutputError, match="no free inodes"):
        stage(small_disk, {"metrics.json": b"new"})
    assert list(small_disk.iterdir()) == []


def test_the_check_detects_a_full_disk(small_disk: Path) -> None:
    check_writable(small_disk / "data")
    (small_disk / "filler").write_bytes(bytes(os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize))
    with pytest.raises(OutputError, match="No space left on device"):
        check_writable(small_disk / "data")


def test_the_check_detects_a_read_only_mount_even_for_root(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(OutputError, match="Read-only file system") as caught:
        check_writable(small_disk)
    assert "mount it writable" in str(caught.value)
    with pytest.raises(OutputError, match="Read-only file system"):
        check_writable(small_disk / "model")


LIMITED = """
import resource, sys
from pathlib import Path
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import torch
from fusionzoo.atomic_files import write_atomically
from fusionzoo.errors import OutputError
folder = Path(sys.argv[1])
for name, write in {
    "plain": lambda file: file.write(bytes(200_000)),
    "torch": lambda file: torch.save({"w": torch.zeros(200_000)}, file),
}.items():
    try:
        write_atomically(folder / name, write)
    except OutputError as error:
        print(name, str(error).replace(chr(10), " "))
print(sorted(path.name for path in folder.iterdir()))
"""


def test_exceeding_the_file_size_limit_is_an_error_that_names_the_limit(tmp_path: Path) -> None:
    run = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=False)
    lines = run.stdout.splitlines()
    assert run.returncode == 0, run.stderr
    for line, name in zip(lines, ("plain", "torch"), strict=False):
        assert line.startswith(f"{name} {tmp_path}/{name} cannot be written: File too large (EFBIG)")
        assert "ulimit -f" in line
    assert lines[2] == "[]"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000


# --- which errors are write failures


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        FileNotFoundError(errno.ENOENT, "No such file", "/data/part-0.csv"),
        PermissionError(errno.EACCES, "Permission denied", "/data/part-0.csv"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
        RuntimeError("CUDA out of memory"),
        RuntimeError("PytorchStreamReader failed reading zip archive: not a ZIP archive"),
        KeyboardInterrupt(),
    ],
    ids=repr,
)
def test_an_error_that_is_not_a_write_failure_is_raised_unchanged(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, translate_write_errors(tmp_path / "model.pth"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EFBIG, errno.EIO, errno.EDQUOT])
def test_every_write_failure_has_a_cause_and_a_fix(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutputError) as caught, translate_write_errors(tmp_path):
        raise OSError(number, os.strerror(number), str(tmp_path / "plots" / "roc.png"))
    assert os.strerror(number) in str(caught.value)
    assert errno.errorcode[number] in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_torch_save_to_a_folder_is_a_write_failure(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"torch\.save failed"), translate_write_errors(tmp_path):
        torch.save({}, tmp_path)


# --- many files at once


def test_staged_files_appear_together_and_other_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "plots" / "old.png").write_bytes(b"old")
    (tmp_path / "plots" / "roc.png").write_bytes(b"old")
    with staged_folder(tmp_path) as folder:
        (folder / "plots").mkdir()
        (folder / "plots" / "roc.png").write_bytes(b"new")
        (folder / "deep" / "er").mkdir(parents=True)
        (folder / "deep" / "er" / "file").write_bytes(b"deep")
        assert folder.parent == tmp_path
        assert (tmp_path / "plots" / "roc.png").read_bytes() == b"old"
        assert not (tmp_path / "deep").exists()
    assert read_files(tmp_path) == {"plots/old.png": b"old", "plots/roc.png": b"new", "deep/er/file": b"deep"}
    assert not list(tmp_path.glob(".*"))


def test_a_failed_block_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(b"old")
    with pytest.raises(ValueError, match="a bug"):
        stage(tmp_path, {"model.pth": b"new"}, ValueError("a bug"))
    assert read_files(tmp_path) == {"model.pth": b"old"}
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_a_failed_move_undoes_the_moves_before_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old a")
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "inside").write_bytes(b"z is a folder")
    with pytest.raises(OutputError, match="Is a directory") as caught:
        stage(tmp_path, {"a": b"new", "new/b": b"new", "z": b"new"})
    assert str(tmp_path / "z") in str(caught.value)
    assert read_files(tmp_path) == {"a": b"old a", "z/inside": b"z is a folder"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "z"]


KILLED = """
import os, sys
from pathlib import Path
from fusionzoo.atomic_files import staged_folder, temporary_folder, write_atomically

def write_half(file):
    file.write(b"x")
    file.flush()
    os.kill(os.getpid(), 9)

folder = Path(sys.argv[1])
match sys.argv[2]:
    case "file":
        write_atomically(folder / "whole", write_half)
    case "staged":
        with staged_folder(folder) as staging, (staging / "half").open("wb") as file:
            write_half(file)
    case "temporary":
        with temporary_folder(folder) as temporary, (temporary / "half").open("wb") as file:
            write_half(file)
"""


@pytest.mark.parametrize("what", ["file", "staged", "temporary"])
def test_only_the_leftovers_of_a_killed_process_are_deleted(tmp_path: Path, what: str) -> None:
    subprocess.run([sys.executable, "-c", KILLED, tmp_path, what], check=False)
    (leftover,) = tmp_path.iterdir()
    own = {".tmp-of-the-user": b"", ".staging-area": b"", "tmp": b"", f"{leftover.name}0": b"", ".hidden/x": b""}
    for name, content in own.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert delete_leftovers(tmp_path) == [leftover.name]
    assert read_files(tmp_path) == own
    assert delete_leftovers(tmp_path) == []
    assert delete_leftovers(tmp_path / "absent") == []


def test_a_temporary_folder_is_removed_after_an_error_too(tmp_path: Path) -> None:
    with suppress(ValueError), temporary_folder(tmp_path) as folder:
        (folder / "file").write_bytes(b"x")
        raise ValueError("a bug")
    assert list(tmp_path.iterdir()) == []


# --- a folder that cannot be written to


@pytest.mark.parametrize("name", ["file", "file/below/it"])
def test_a_file_in_place_of_the_folder_is_an_error_that_names_it(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_bytes(b"in the way")
    with pytest.raises(OutputError, match="existing file or folder") as caught:
        check_writable(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(OutputError), staged_folder(tmp_path / name):
        pass
    assert read_files(tmp_path) == {"file": b"in the way"}


def test_the_check_creates_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
