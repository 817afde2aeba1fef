"""The folder of the metrics: no server leaves one behind, and none removes that of another server that runs."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.server.metrics_folder import PREFIX, create_metrics_folder

FORKING_SERVER = """
import os, sys, time
from pathlib import Path
from fusionzoo.server.metrics_folder import create_metrics_folder

with create_metrics_folder(Path(sys.argv[1])) as folder:
    (folder / "metrics.db").touch()
    worker = os.fork()
    if worker:
        print(worker, flush=True)
    time.sleep(600)
"""


@contextmanager
def run_server(parent: Path) -> Iterator[tuple[int, int]]:
    """Run a process that has a folder, and forks one that serves; yield the ids of both."""
    command = [sys.executable, "-c", FORKING_SERVER, str(parent)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        try:
            assert server.stdout is not None
            yield server.pid, int(server.stdout.readline())
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def find_folders(parent: Path) -> list[Path]:
    return list(parent.glob(f"{PREFIX}*"))


@pytest.mark.parametrize("error", [None, SystemExit(1)])
def test_the_folder_is_removed_at_the_end(tmp_path: Path, error: SystemExit | None) -> None:
    try:
        with create_metrics_folder(tmp_path) as folder:
            (folder / "metrics.db").touch()
            assert find_folders(tmp_path) == [folder]
            if error:
                raise error
    except SystemExit:
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_folder_of_a_server_that_was_killed_is_removed_by_the_next_one(tmp_path: Path) -> None:
    with run_server(tmp_path):
        (killed,) = find_folders(tmp_path)
    assert killed.exists()
    until = time.monotonic() + 30
    while killed.exists() and time.monotonic() < until:  # its worker, which holds the lock too, may end a bit later
        with create_metrics_folder(tmp_path) as folder:
            assert folder in find_folders(tmp_path)
    assert find_folders(tmp_path) == []


def test_the_folders_of_servers_that_run_stay(tmp_path: Path) -> None:
    with run_server(tmp_path) as (server, _), create_metrics_folder(tmp_path) as mine:
        with create_metrics_folder(tmp_path):
            assert len(find_folders(tmp_path)) == 3
        assert mine.exists()
        os.kill(server, signal.SIGKILL)
        os.waitid(os.P_PID, server, os.WEXITED | os.WNOWAIT)
        with create_metrics_folder(tmp_path):
            assert len(find_folders(tmp_path)) == 3, "a process of the killed server still uses its folder"


def test_a_folder_that_another_server_removes_before_it_is_locked_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, lock, removed = tempfile.mkdtemp, fcntl.flock, []

    def make_and_remove(**options: Any) -> str:
        folder = make(**options)
        if not removed:
            shutil.rmtree(folder)
            removed.append(folder)
        return folder

    def remove_and_lock(descriptor: int, operation: int) -> None:
        if len(removed) == 1:
            (folder,) = find_folders(tmp_path)
            shutil.rmtree(folder)
            removed.append(str(folder))
        lock(descriptor, operation)

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_remove)
    monkeypatch.setattr(fcntl, "flock", remove_and_lock)
    with create_metrics_folder(tmp_path) as folder:
        assert len(removed) == 2
        assert find_folders(tmp_path) == [folder]


def test_on_a_file_system_without_locks_no_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with create_metrics_folder(tmp_path) as first, create_metrics_folder(tmp_path) as second:
        assert set(find_folders(tmp_path)) == {first, second}


def test_what_is_not_a_folder_of_a_server_is_not_touched(tmp_path: Path) -> None:
    (parent := tmp_path / "temporary").mkdir()
    (other := tmp_path / "other").mkdir()
    (other / "file").touch()
    (parent / f"{PREFIX}link").symlink_to(other)
    (parent / f"{PREFIX}file").touch()
    (parent / "another").mkdir()
    with create_metrics_folder(parent):
        pass
    assert {path.name for path in parent.iterdir()} == {f"{PREFIX}link", f"{PREFIX}file", "another"}
    assert (other / "file").exists()
