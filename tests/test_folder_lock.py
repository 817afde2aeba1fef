"""The folders that a job writes to belong to one job at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import FolderInUseError, OutputError
from fusionzoo.sagemaker import folder_lock, run_job
from fusionzoo.sagemaker.folder_lock import LOCK_FILE, OWNER_FILE, Owner, lock_folder
from fusionzoo.sagemaker.paths import Paths
from fusionzoo.training.write_artifacts import log_written_files

OWN_FOLDER = """
import sys, time
from pathlib import Path
from fusionzoo.sagemaker.folder_lock import lock_folder

with lock_folder(Path(sys.argv[1]), "first"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_lock, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(folder_lock, "SETTLING_SECONDS", 0.3)
    monkeypatch.setattr(folder_lock, "MAX_SILENCE_SECONDS", 1.5)


@pytest.fixture
def first(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that owns `tmp_path`."""
    process = subprocess.Popen([sys.executable, "-c", OWN_FOLDER, tmp_path], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def use_no_locks(monkeypatch: pytest.MonkeyPatch, number: int = errno.ENOLCK) -> None:
    """Make the file system one without locks."""

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)


def use_other_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Make this process see the folder from another machine."""
    boot_id = tmp_path.with_name(f"{tmp_path.name}-boot-id")
    boot_id.write_text("another kernel")
    monkeypatch.setattr(folder_lock, "BOOT_ID", boot_id)


def test_a_second_job_is_refused_with_host_and_process_of_the_first(
    tmp_path: Path, first: subprocess.Popen[str]
) -> None:
    with pytest.raises(FolderInUseError) as caught, lock_folder(tmp_path, "second"):
        pass
    assert f"Another job writes to {tmp_path}: process {first.pid} on host {os.uname().nodename}." in str(caught.value)


def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path, first: subprocess.Popen[str]) -> None:
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert (tmp_path / OWNER_FILE).exists()
    start = time.monotonic()
    with lock_folder(tmp_path, "second"):
        owner = Owner.read(tmp_path)
        assert owner is not None
        assert (owner.job_id, owner.pid) == ("second", os.getpid())
    assert time.monotonic() - start < 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_the_heartbeat_refuses_the_second_job(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_no_locks(monkeypatch, number)
    with lock_folder(tmp_path, "first"):
        with pytest.raises(FolderInUseError, match=f"process {os.getpid()} "), lock_folder(tmp_path, "second"):
            pass
        owner = Owner.read(tmp_path)
        assert owner is not None
        assert owner.job_id == "first"
    with lock_folder(tmp_path, "second"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_heartbeat_of_another_host_refuses_the_job_although_the_lock_is_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_no_locks(monkeypatch)
    with lock_folder(tmp_path, "first"):
        monkeypatch.undo()
        use_other_kernel(monkeypatch, tmp_path)
        with pytest.raises(FolderInUseError), lock_folder(tmp_path, "second"):
            pass


def test_the_silent_heartbeat_of_a_host_that_died_does_not_block_the_folder(
    tmp_path: Path, first: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    first.kill()
    first.wait()
    use_other_kernel(monkeypatch, tmp_path)
    with lock_folder(tmp_path, "second"):
        pass
    assert f"was in use by process {first.pid}" in caplog.text


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"job_id": 1}', '{"a": 1, "b": 2}', "[" * 100_000])
def test_a_damaged_heartbeat_file_is_replaced(content: str, tmp_path: Path) -> None:
    (tmp_path / OWNER_FILE).write_text(content)
    with lock_folder(tmp_path, "job"):
        assert json.loads((tmp_path / OWNER_FILE).read_text())["job_id"] == "job"


def test_processes_of_one_job_share_its_folder(tmp_path: Path, first: subprocess.Popen[str]) -> None:
    with lock_folder(tmp_path, "first"):
        owner = Owner.read(tmp_path)
        assert owner is not None
        assert owner.pid == first.pid
    assert (tmp_path / LOCK_FILE).exists()
    with pytest.raises(FolderInUseError), lock_folder(tmp_path, "second"):
        pass


def test_one_job_may_use_one_folder_twice(tmp_path: Path) -> None:
    with lock_folder(tmp_path, "job"), lock_folder(tmp_path, "job"):
        pass
    assert list(tmp_path.iterdir()) == []


def lose_folder(folder: Path, signals: list[int]) -> None:
    """Own the folder until another job takes it, and this process receives a signal."""
    with lock_folder(folder, "job"):
        Owner("thief", "other", 5, "k").write(folder)
        deadline = time.monotonic() + 5
        while not signals and time.monotonic() < deadline:
            time.sleep(0.05)


def test_a_job_that_lost_its_folder_is_stopped_and_fails(tmp_path: Path) -> None:
    signals: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    try:
        with pytest.raises(FolderInUseError, match="process 5 on host other"):
            lose_folder(tmp_path, signals)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert signals == [signal.SIGTERM]
    owner = Owner.read(tmp_path)
    assert owner is not None
    assert owner.job_id == "thief"


def test_only_one_of_many_jobs_that_start_together_owns_the_folder(tmp_path: Path) -> None:
    program = OWN_FOLDER.replace('"first"', "sys.argv[2]").replace("sleep(60)", "sleep(2)")
    processes = [
        subprocess.Popen([sys.executable, "-c", program, tmp_path, str(n)], stdout=subprocess.PIPE, stderr=-3)
        for n in range(6)
    ]
    assert sorted(process.communicate()[0] for process in processes) == [b""] * 5 + [b"locked\n"]


def test_a_file_in_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"), lock_folder(tmp_path / "file", "job"):
        pass


# --- jobs


def run_inside(tmp_path: Path, job: Callable[[Paths], None], **environ: str) -> tuple[int, int]:
    """Run a job in the same root from inside another one, which has a model; return the status of both."""
    status: list[int] = []

    def first_job(paths: Paths) -> None:
        paths.model.mkdir()
        (paths.model / "model.onnx").write_text("of the first job")
        status.append(run_job(job, {"SAGEMAKER_BASE_DIR": str(tmp_path), **environ}))

    return run_job(first_job, {"SAGEMAKER_BASE_DIR": str(tmp_path)}), status[0]


def test_a_refused_job_changes_nothing_in_the_folder_of_the_other_one(tmp_path: Path, capsys: Any) -> None:
    ran: list[Paths] = []
    assert run_inside(tmp_path, ran.append) == (0, 1)
    assert ran == []
    assert f"process {os.getpid()} on host" in capsys.readouterr().out
    assert (tmp_path / "model/model.onnx").read_text() == "of the first job"
    assert [path for path in (tmp_path / "output").rglob("*") if path.is_file()] == []


OTHERS = {"WORLD_SIZE": "9", "LOCAL_WORLD_SIZE": "8", "MASTER_ADDR": "algo-1", "MASTER_PORT": "7777"}


@pytest.mark.parametrize("environ", [{"RANK": "1", "LOCAL_RANK": "1"}, {"RANK": "8", "LOCAL_RANK": "0"}])
def test_other_processes_of_a_job_are_not_refused(tmp_path: Path, environ: dict[str, str]) -> None:
    assert run_inside(tmp_path, lambda paths: None, **OTHERS, **environ) == (0, 0)
    assert (tmp_path / "model/model.onnx").exists()


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
def test_a_variable_of_a_scheduler_does_not_make_a_job_another_process(tmp_path: Path, name: str, capsys: Any) -> None:
    assert run_inside(tmp_path, lambda paths: None, **{name: "1"}) == (0, 1)
    assert f"process {os.getpid()} on host" in capsys.readouterr().out
    assert (tmp_path / "model/model.onnx").read_text() == "of the first job"


def test_hosts_of_one_job_may_share_all_folders(tmp_path: Path) -> None:
    config = tmp_path / "input/config/resourceconfig.json"
    config.parent.mkdir(parents=True)

    def first_host(paths: Paths) -> None:
        config.write_text(json.dumps({"hosts": ["algo-1", "algo-2"], "current_host": "algo-2"}))
        assert run_job(lambda paths: None, {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 0

    config.write_text(json.dumps({"hosts": ["algo-1", "algo-2"], "current_host": "algo-1"}))
    assert run_job(first_host, {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 0


def test_a_process_that_the_job_starts_belongs_to_it(tmp_path: Path) -> None:
    def launcher(paths: Paths) -> None:
        environ = {"SAGEMAKER_BASE_DIR": str(tmp_path), "FUSIONZOO_JOB_ID": paths.job_id}
        environ |= {**OTHERS, "RANK": "0", "LOCAL_RANK": "0"}
        assert run_job(lambda paths: None, environ) == 0

    assert run_job(launcher, {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 0


def test_a_job_does_not_list_its_lock_among_what_it_wrote(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "plots").mkdir()
    (tmp_path / "metrics.json").touch()
    with lock_folder(tmp_path, "first"), caplog.at_level("INFO"):
        assert (tmp_path / LOCK_FILE).exists()
        log_written_files([tmp_path])
    assert [record.getMessage() for record in caplog.records if "Wrote" in record.getMessage()] == [
        f"Wrote {tmp_path}/metrics.json",
        f"Wrote {tmp_path}/plots/",
    ]
