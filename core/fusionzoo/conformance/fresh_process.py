"""Start the fresh processes that some checks need, and collect their failures."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionzoo.conformance import child_process
from fusionzoo.conformance.child_process import IMPORT_TASKS, failure_file
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject
from fusionzoo.registry.fresh_python import kill_if_running, start_function

TIMEOUT_SECONDS = 180
GRACE_SECONDS = 3  # that the other processes may continue after one has failed


def run_in_fresh_process(task: str, subject: Subject, folder: Path, processes: int = 1) -> None:
    """Run a task of `fusionzoo.conformance.child_process` in fresh processes with the same `sys.path` as this one.

    Raises:
        ConformanceError: a process crashed, reported a failure (the first one is shown), or timed out.
    """
    request = subject.request if task in IMPORT_TASKS else subject.resolved_request()
    job = {"task": task, "request": asdict(request), "folder": str(folder)}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            children.append(_start({**job, "rank": rank}, _log_file(folder, rank)))
        in_time = _wait(children)
        exit_statuses = {rank: child.poll() for rank, child in enumerate(children) if child.poll()}
    finally:
        for child in children:
            kill_if_running(child)
    for rank, status in exit_statuses.items():
        if not failure_file(folder, rank).exists():  # a crash: the other process only reports that it lost its peer
            last_lines = " | ".join(_log_file(folder, rank).read_text("utf-8", "replace").strip().splitlines()[-5:])
            raise ConformanceError(f"a fresh process crashed with exit status {status}. Its last output: {last_lines}")
    failures = sorted(folder.glob(failure_file(folder, "*").name), key=lambda file: file.stat().st_mtime_ns)
    if failures:
        raise ConformanceError(failures[0].read_text("utf-8"))
    if not in_time:
        raise ConformanceError(
            f"a fresh process did not finish within {TIMEOUT_SECONDS} seconds. Fix: look for a deadlock, a wait for "
            "input, or a download"
        )


def _log_file(folder: Path, rank: int) -> Path:
    return folder / f"log-{rank}.txt"


def _start(job: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    return start_function(child_process.__name__, child_process.main.__name__, job, log)


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Wait until all have ended, or shortly after the first failure; return whether they ended in time."""
    end = time.monotonic() + TIMEOUT_SECONDS
    while any(child.poll() is None for child in children):
        if time.monotonic() > end:
            return False
        if any(child.returncode for child in children):
            end = min(end, time.monotonic() + GRACE_SECONDS)
        time.sleep(0.02)
    return True
