"""Forks of a process that has imported torch and core, but no plugin: a fast replacement of the fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SERVER = """
import json, os, signal, sys
import torch, torch._dynamo
import fusionzoo.artifacts.onnx_export, fusionzoo.conformance.child_process, fusionzoo.conformance.checks

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    request = json.loads(line)
    if os.fork():
        continue
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if not child:
        os.setsid()
        log = os.open(request["log"], os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.path[:] = request["job"]["path"]
        fusionzoo.conformance.child_process.main(request["job"])
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    with open(request["log"] + ".writing", "w") as file:
        file.write(str(os.waitstatus_to_exitcode(status)))
    os.rename(request["log"] + ".writing", request["log"] + ".status")
    os._exit(0)
"""


@dataclass
class Fork:
    """The part of the interface of `subprocess.Popen` that the conformance kit uses."""

    pid: int
    status: Path

    @property
    def returncode(self) -> int | None:
        return int(self.status.read_text()) if self.status.exists() else None

    def poll(self) -> int | None:
        return self.returncode

    def wait(self) -> None:
        while self.poll() is None:
            os.sched_yield()


class Forks:
    """Starts processes like `fusionzoo.conformance.fresh_process._start`, but faster."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )

    def start(self, job: Mapping[str, Any], log: Path) -> Fork:
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps({"job": {**job, "path": sys.path}, "log": str(log)}) + "\n")
        self._server.stdin.flush()
        return Fork(int(self._server.stdout.readline()), Path(f"{log}.status"))

    def close(self) -> None:
        self._server.communicate()
