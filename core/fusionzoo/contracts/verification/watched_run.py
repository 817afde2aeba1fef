"""Run a command under watch, with a time limit, and leave none of its processes running."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.contracts.verification.file_watch import FileWatch
from fusionzoo.contracts.verification.process_tree import find_marked_processes, kill_marked_processes

MAX_OUTPUT_BYTES = 64_000  # of the end of the output; a script may print for hours
CHUNK_BYTES = 65_536
POLL_SECONDS = 0.05
EXIT_SECONDS = 2.0  # what helper processes of libraries take to notice that the script has ended
MARKER_VARIABLE = "FUSIONZOO_VERIFICATION"


@dataclass(frozen=True)
class Command:
    """A command with its environment and its working directory."""

    arguments: Sequence[str]
    environ: Mapping[str, str]
    folder: Path


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        exit_status: None if the time limit ended the run; minus the number of the signal that killed the script.
        seconds: wall-clock time.
        output: the end of standard output and standard error together.
        output_bytes: how much the run printed.
        leftovers: the commands of processes that were still running after the script had ended; they were killed.
    """

    exit_status: int | None
    seconds: float
    output: str
    output_bytes: int
    leftovers: Sequence[str]

    def describe(self) -> str:
        """Return the ending in words, such as "exit status 1"."""
        if self.exit_status is None:
            return f"did not end within {self.seconds:.0f} s"
        if self.exit_status < 0:
            return f"was killed by {_name_signal(-self.exit_status)}"
        return f"ended with exit status {self.exit_status}"


def run_watched(command: Command, watch: FileWatch, timeout: float) -> Outcome:
    """Run a command while `watch.activity` records what it does with files; kill it after `timeout` seconds.

    No process that the command started is running when this returns or raises.
    """
    marker = f"{MARKER_VARIABLE}={os.urandom(8).hex()}"
    start = time.monotonic()
    process = subprocess.Popen(
        command.arguments,
        cwd=command.folder,
        env={**command.environ, **dict([marker.split("=")])},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    leftovers: Sequence[str] = ()
    with process, _Reader(process, watch) as reader:
        try:
            while process.poll() is None and time.monotonic() - start < timeout:
                reader.read(POLL_SECONDS)
            status, seconds = process.returncode, time.monotonic() - start
            if status is not None:
                leftovers = _await_end(marker, reader)
        finally:
            _kill(process, marker)
        reader.read_rest()
        return Outcome(status, seconds, reader.text, reader.count, leftovers)


class _Reader:
    """Reads the output of a process and the events of its watch when they arrive. It keeps the end of the output."""

    def __init__(self, process: subprocess.Popen[bytes], watch: FileWatch) -> None:
        assert process.stdout is not None
        self._pipe = process.stdout.fileno()
        self._watch = watch
        self._tail = b""
        self.count = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(watch, selectors.EVENT_READ, watch.collect)
        self._selector.register(self._pipe, selectors.EVENT_READ, self._read_pipe)
        os.set_blocking(self._pipe, False)

    def __enter__(self) -> _Reader:
        return self

    def __exit__(self, *error: object) -> None:
        self._selector.close()

    @property
    def text(self) -> str:
        """The end of the output."""
        return self._tail.decode("utf-8", "replace")

    def read(self, seconds: float) -> bool:
        """Wait for something to read and read it; return False if nothing arrives in this time."""
        ready = self._selector.select(seconds)
        for key, _ in ready:
            key.data()
        return bool(ready)

    def read_rest(self) -> None:
        """Read what the processes that have ended left."""
        while self.read(0):
            pass

    def _read_pipe(self) -> None:
        chunk = os.read(self._pipe, CHUNK_BYTES)
        if not chunk:
            self._selector.unregister(self._pipe)
        self.count += len(chunk)
        self._tail = (self._tail + chunk)[-MAX_OUTPUT_BYTES:]


def _await_end(marker: str, reader: _Reader) -> Sequence[str]:
    """Return the commands of the processes that do not end soon after the script."""
    deadline = time.monotonic() + EXIT_SECONDS
    while (running := find_marked_processes(marker)) and time.monotonic() < deadline:
        reader.read(POLL_SECONDS)
    return sorted(running.values())


def _kill(process: subprocess.Popen[bytes], marker: str) -> None:
    with suppress(ProcessLookupError):  # all processes of the group have ended
        os.killpg(process.pid, signal.SIGKILL)
    kill_marked_processes(marker)
    process.wait()


def _name_signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal has no name
        return f"signal {number}"
