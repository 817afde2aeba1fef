"""Jobs on two hosts, which network namespaces emulate."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from conftest import Installer
from fusionzoo.errors import TerminatedError
from process_helpers import (
    DETERMINISTIC,
    FORKING_TRAIN_PY,
    SLEEPS,
    TRAIN_PY,
    assert_same_results,
    copy_job,
    make_dying_job,
    read_log,
    start,
)
from shop import JobFolder, shop_rows

NAMES = ("fz-host-1", "fz-host-2")


@pytest.fixture
def two_hosts() -> Iterator[tuple[str, str]]:
    """Yield two connected network namespaces that know each other's names."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and iproute2")

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    def remove() -> None:
        for name in NAMES:
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    lock = FileLock(Path(tempfile.gettempdir()) / "fusionzoo-two-hosts.lock")  # tests may run in parallel
    lock.acquire()
    remove()
    try:
        try:
            for name in NAMES:
                ip("netns", "add", name)
            ip("link", "add", "fz-eth", "netns", NAMES[0], "type", "veth", "peer", "name", "fz-eth", "netns", NAMES[1])
        except subprocess.CalledProcessError as cause:
            pytest.skip(f"network namespaces cannot be created here: {cause.stderr.decode()}")
        for number, name in enumerate(NAMES, 1):
            inside = Path("/etc/netns") / name
            inside.mkdir(parents=True, exist_ok=True)
            (inside / "hosts").write_text("127.0.0.1 localhost\n10.77.0.1 algo-1\n10.77.0.2 algo-2\n")
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "fz-eth")
            ip("-n", name, "link", "set", "fz-eth", "up")
        yield NAMES
    finally:
        remove()
        lock.release()


def copy_to_hosts(job: JobFolder, hosts: tuple[str, str], folder: Path) -> list[JobFolder]:
    """Return a copy of the job for each host, with its resourceconfig.json."""
    jobs = []
    for number, _ in enumerate(hosts, 1):
        copy = copy_job(job, folder / f"host-{number}")
        config = {"current_host": f"algo-{number}", "hosts": ["algo-1", "algo-2"], "network_interface_name": "fz-eth"}
        (copy.root / "input/config/resourceconfig.json").write_text(json.dumps(config))
        jobs.append(copy)
    return jobs


def start_on(host: str, job: JobFolder, train_py: Path = FORKING_TRAIN_PY, **environ: str) -> subprocess.Popen[str]:
    program = ["-c", "import os, sys; os.execvp('ip', ['ip', 'netns', 'exec', *sys.argv[1:]])", host, sys.executable]
    return start(job, 1, [*program, "-W", "ignore", str(train_py)], FUSIONZOO_CACHE=str(job.root / "cache"), **environ)


def wait_for_all(running: list[subprocess.Popen[str]]) -> list[int]:
    try:
        return [process.wait(timeout=150) for process in running]
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)


def test_two_hosts_that_run_train_py_form_one_job(two_hosts: tuple[str, str], tmp_path: Path) -> None:
    one = JobFolder(tmp_path / "one").fill(**DETERMINISTIC)
    hosts = copy_to_hosts(one, two_hosts, tmp_path)
    assert one.run() == 0
    second = start_on(two_hosts[1], hosts[1], TRAIN_PY)  # the first host may start later
    time.sleep(3)
    assert wait_for_all([start_on(two_hosts[0], hosts[0], TRAIN_PY), second]) == [0, 0], read_log(hosts[0]) + read_log(
        hosts[1]
    )
    assert_same_results(one, hosts[0])
    assert not hosts[1].output.exists()
    assert not (hosts[1].root / "checkpoints").exists()


@pytest.mark.parametrize("number", [0, 1])
def test_sigterm_stops_a_host_that_waits_for_the_other(number: int, two_hosts: tuple[str, str], tmp_path: Path) -> None:
    host = copy_to_hosts(JobFolder(tmp_path / "one").fill(), two_hosts, tmp_path)[number]
    waiting = start_on(two_hosts[number], host, TRAIN_PY)
    until = time.monotonic() + 60
    while "Starting 1 of 2 processes" not in read_log(host) and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(2)
    waiting.send_signal(signal.SIGTERM)
    assert wait_for_all([waiting]) == [1]
    assert host.failure == str(TerminatedError(None))


def test_a_dead_host_stops_the_job_on_the_other_host(
    two_hosts: tuple[str, str], job: JobFolder, install: Installer, tmp_path: Path
) -> None:
    hosts = copy_to_hosts(make_dying_job(job, install, SLEEPS), two_hosts, tmp_path)
    environ = {"PYTHONPATH": str(install.folder), "DYING_RANK": "1"}
    running = [start_on(name, host, **environ) for name, host in zip(two_hosts, hosts, strict=True)]
    until = time.monotonic() + 60
    while not (hosts[0].root / "checkpoints/last.ckpt").exists() and time.monotonic() < until:
        time.sleep(0.2)
    time.sleep(2)
    subprocess.run(
        ["ip", "-n", two_hosts[1], "link", "set", "fz-eth", "down"], check=True
    )  # without closing connections
    assert running[0].wait(timeout=90) == 1, read_log(hosts[0])
    wait_for_all(running)
    assert "process 1 of 2" in hosts[0].failure


def test_hosts_with_different_rows_or_settings_are_reported(two_hosts: tuple[str, str], tmp_path: Path) -> None:
    hosts = copy_to_hosts(JobFolder(tmp_path / "job").fill(), two_hosts, tmp_path)
    (hosts[1].root / "input/data/val/part-00000.parquet").unlink()
    hosts[1].channel("val", shop_rows(50, 9))
    hosts[1].settings(checkpoint_every_n_steps=1)  # it changes no result, but the processes save together
    assert wait_for_all([start_on(*each) for each in zip(two_hosts, hosts, strict=True)]) == [1, 1]
    assert "Process 1 differs from process 0: checkpoint_every_n_steps: None and here 1; " in hosts[1].failure
    assert "; data of val: 48 rows" in hosts[1].failure
    assert "Process 1 differs from process 0" in hosts[0].failure
