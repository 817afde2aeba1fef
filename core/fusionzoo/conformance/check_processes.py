"""Checks and parts of checks that need processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusionzoo.conformance.child_process import failure_of
from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject

SECONDS = 180  # a process that takes longer is stuck
GRACE = 3  # seconds that the others have once one process has failed
START = (
    "import json, sys; job = json.load(sys.stdin); sys.path[:] = job['path']; "
    "from fusionzoo.conformance.child_process import main; main(job)"
)


def check_distributed_training(subject: Subject) -> None:
    """Two processes with different kinds of rows train together: each uses every parameter in every batch."""
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        run_fresh("train", subject, Path(folder), processes=2)


def check_import_is_quiet(subject: Subject) -> None:
    """Importing the plugin opens no connection, and its own code only defines things.

    It starts no program, computes nothing with torch, sets no seed, prints nothing, and leaves log handlers, log
    levels and warning filters alone.
    """
    with tempfile.TemporaryDirectory(prefix="fusionzoo-check-") as folder:
        run_fresh("import", subject, Path(folder))


def run_fresh(task: str, subject: Subject, folder: Path, processes: int = 1) -> None:
    """Do a task of `fusionzoo.conformance.child_process` in fresh processes that have this one's `sys.path`.

    Raises:
        ConformanceError: how processes ended that died without a word, or else what the first that failed told.
    """
    path = [entry or str(Path.cwd()) for entry in sys.path]
    job = {"task": task, "request": asdict(subject.request), "folder": str(folder), "path": path}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(processes):
            children.append(_start({**job, "rank": rank}, _log(folder, rank)))
        in_time = _wait(children)
        died = {rank: child.poll() for rank, child in enumerate(children) if child.poll()}
    finally:
        for child in children:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
    for rank, status in died.items():
        if not failure_of(folder, rank).exists():  # the other only tells that it lost its peer
            last = " | ".join(_log(folder, rank).read_text("utf-8", "replace").strip().splitlines()[-5:])
            raise ConformanceError(f"a fresh process ended with status {status}: {last}")
    told = sorted(folder.glob(failure_of(folder, "*").name), key=lambda written: written.stat().st_mtime_ns)
    if told:
        raise ConformanceError(told[0].read_text("utf-8"))
    if not in_time:
        raise ConformanceError(f"a fresh process did not end within {SECONDS} seconds")


def _log(folder: Path, rank: int) -> Path:
    return folder / f"log-{rank}.txt"


def _start(job: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-c", START],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # so that it can be ended together with processes of its own
        )
    if child.stdin is not None:
        with child.stdin as stream:
            stream.write(json.dumps(job).encode())
    return child


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> bool:
    """Until all have ended, and not much longer than the first that fails; whether that was in time."""
    end = time.monotonic() + SECONDS
    while any(child.poll() is None for child in children):
        if time.monotonic() > end:
            return False
        if any(child.returncode for child in children):
            end = min(end, time.monotonic() + GRACE)
        time.sleep(0.02)
    return True
