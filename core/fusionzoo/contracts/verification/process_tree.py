"""Find and kill what a script has started, also processes in a session of their own.

A process counts if it inherited the variable that marks the run; a process can only escape by starting another program
with an empty environment.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

KILL_ROUNDS = 20  # a process may start another one while it is being killed


def find_marked_processes(marker: str) -> dict[int, str]:
    """Return the command of each process with `marker` in its environment, such as "NAME=value", by process id.

    Processes that have ended do not count, also if their parent has not noticed it.
    """
    needle = os.fsencode(marker)
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) == os.getpid():
            continue
        try:
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ")
                found[int(folder.name)] = command.decode("utf-8", "replace").strip()
        except OSError:  # it has ended, or it belongs to another user
            continue
    return found


def kill_marked_processes(marker: str) -> None:
    """Kill all processes with `marker` in their environment, until none is left."""
    for _ in range(KILL_ROUNDS):
        processes = find_marked_processes(marker)
        if not processes:
            return
        for pid in processes:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)
