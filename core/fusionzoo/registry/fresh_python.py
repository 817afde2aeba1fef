"""Run a function in a fresh Python process that finds the same modules as this one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

# Python puts the working folder on the path of a command (only 3.11 has `-P`), where a json.py could be.
CODE = (
    "import sys; sys.path[:] = filter(None, sys.path); import importlib, json; job = json.load(sys.stdin); "
    "sys.path[:] = job['path']; getattr(importlib.import_module(job['module']), job['function'])(job)"
)


def start_function(module: str, function: str, job: Mapping[str, Any], log: Path) -> subprocess.Popen[bytes]:
    """Start a process that calls the function with the job, and return it. The log receives what the process prints.

    The process has the `sys.path` of this one, and leads a process group of its own.
    """
    call = {**job, "module": module, "function": function, "path": [entry or str(Path.cwd()) for entry in sys.path]}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
    if process.stdin is not None:
        with suppress(BrokenPipeError), process.stdin as stream:  # it ended early; its status shows how
            stream.write(json.dumps(call).encode())
    return process


def kill_if_running(process: subprocess.Popen[bytes]) -> bool:
    """Kill the process and all processes that it started, if it has not ended. Return whether it was running."""
    is_running = process.poll() is None
    if is_running:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return is_running
