"""Detect dead processes of the job, and stop the others with a cause and a fix."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta

from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from fusionzoo import errors
from fusionzoo.errors.wording import pluralize
from fusionzoo.training.distributed.world import World

log = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 1.0
MAX_SILENCE_SECONDS = 30.0  # after which a process counts as dead
SECONDS_TO_REPORT = 5.0  # a failed process has this long to report its cause before another process guesses
MAX_START_SECONDS = 300.0  # until the other processes have imported their libraries
SECONDS_TO_LOG_WAIT = 20.0  # longer than the processes of one host differ in their start
SECONDS_BETWEEN_CHECKS = 0.1
MAX_CAUSE_CHARACTERS = 2000
CAUSE_KEY = "cause"  # in the store: why the job stops; empty while it runs


class Heartbeat:
    """Two daemon threads per process: one exchanges heartbeats through the job's store, the other checks them.

    The first thread may block on the store for any length of time. The second thread only reads what the first one
    received, so it never blocks. Both use their own connection, because the main thread's connection may be blocked.
    """

    def __init__(self, world: World, write_cause: Callable[[str], None]) -> None:
        """Connect to the store, and wait until every process of the job has done so.

        Args:
            write_cause: stores a cause for the user; called before this process exits without unwinding the stack.

        Raises:
            errors.ProcessesError: another process did not start in time, or the store cannot be reached.
        """
        self._world, self._write_cause = world, write_cause
        self._name = f"process {world.rank} of {world.size} (host {socket.gethostname()}, pid {os.getpid()})"
        self._peers = [rank for rank in range(world.size) if rank != world.rank]
        try:
            self._peer_names = self._meet_peers()
        except RuntimeError as cause:
            raise errors.ProcessesError.not_connected(cause) from cause
        self._stopped = threading.Event()
        self._reported_cause: str | None = None  # by the process that failed
        self._beats: dict[int, bytes] = {}
        self._last_beat = dict.fromkeys(self._peers, time.monotonic())  # when each peer last sent a new beat
        self._last_answer = time.monotonic()  # when the store last answered
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._exchange_beats, self._watch_peers)]

    def _meet_peers(self) -> dict[int, str]:
        """Return the name of each other process, after it has a name and a beat in the store."""
        store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=1)))
        self._store = PrefixStore("fusionzoo", store)
        self._store.compare_set(CAUSE_KEY, "", "")
        self._store.add(f"beat/{self._world.rank}", 1)
        self._store.set(f"name/{self._world.rank}", self._name)
        self._wait_for_peers()
        names = self._store.multi_get([f"name/{rank}" for rank in self._peers])
        return dict(zip(self._peers, (name.decode() for name in names), strict=True))

    def _wait_for_peers(self) -> None:
        began, is_logged = time.monotonic(), False
        while absent := [rank for rank in self._peers if not self._store.check([f"name/{rank}"])]:
            waited = time.monotonic() - began
            if waited > MAX_START_SECONDS:
                raise errors.ProcessesError.not_started(absent, self._world.size, waited)
            if waited > SECONDS_TO_LOG_WAIT and not is_logged:
                is_logged = True
                who = f"{pluralize(len(absent), 'process', 'processes')} of {self._world.size}"
                numbers = ", ".join(map(str, absent))
                log.info("Waiting %.0f s at most for %s: number %s (from 0)", MAX_START_SECONDS, who, numbers)
            try:
                time.sleep(SECONDS_BETWEEN_CHECKS)
            except BaseException as stop:  # a signal: torchrun sends one when another process was killed
                raise errors.ProcessesError.not_started(absent, self._world.size, waited) from stop

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Make both threads end after their current wait."""
        self._stopped.set()

    def find_cause(self, error: BaseException) -> BaseException:
        """Return the error that this process must end with.

        An error of this process is reported to the others and returned. If another process reported a cause first, or
        if the error only says that the connection to another process broke, return a ProcessLostError. So it is if
        another process has disappeared and torchrun therefore sent SIGTERM to this one.
        """
        is_lost = is_lost_connection(error)
        if not is_lost and not _is_stop(error):
            return self._report(error)
        began = time.monotonic()
        while self._reported_cause is None and time.monotonic() < began + SECONDS_TO_REPORT:
            # The first new beat of a dead process may be one that it sent before.
            if not is_lost and min(self._last_beat.values()) > began + 1.5 * HEARTBEAT_SECONDS:
                return self._report(error)  # all processes live, so SIGTERM has another reason
            time.sleep(HEARTBEAT_SECONDS / 4)
        silent = self._find_silent_processes(SECONDS_TO_REPORT - HEARTBEAT_SECONDS)
        if self._reported_cause is not None:
            return self._choose(error, self._reported_cause)
        if is_lost:
            return errors.ProcessLostError.disappeared(silent, _format_error(error))
        is_store_alive = time.monotonic() - self._last_answer < SECONDS_TO_REPORT - HEARTBEAT_SECONDS
        return errors.ProcessLostError.disappeared(silent, "") if silent and is_store_alive else self._report(error)

    def _report(self, error: BaseException) -> BaseException:
        """Report an error to the other processes, and return it; if one of them was first, return what it reported."""
        try:
            cause = self._store.compare_set(CAUSE_KEY, "", f"{self._name}: {_format_error(error)}").decode()
        except RuntimeError as lost:
            log.debug("The store of the job does not answer: %s", lost)  # the launcher holds it, and was killed
            return error
        return self._choose(error, cause)

    def _choose(self, error: BaseException, cause: str) -> BaseException:
        """Return the error of this process if the reported cause is the same, as SIGTERM to all of them is."""
        is_same = cause.endswith(f": {_format_error(error)}")
        return error if is_same else errors.ProcessLostError.reported(cause)

    def _exchange_beats(self) -> None:
        keys = [CAUSE_KEY, *(f"beat/{rank}" for rank in self._peers)]
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            try:
                self._store.add(f"beat/{self._world.rank}", 1)
                cause, *beats = self._store.multi_get(keys)
            except RuntimeError as error:
                log.debug("The store of the job does not answer: %s", error)  # `_watch_peers` notices
                continue
            for rank, beat in zip(self._peers, beats, strict=True):
                if self._beats.get(rank) != beat:
                    self._beats[rank], self._last_beat[rank] = beat, time.monotonic()
            self._reported_cause = cause.decode() or None
            self._last_answer = time.monotonic()

    def _watch_peers(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            silent = self._find_silent_processes(MAX_SILENCE_SECONDS)
            cause = self._reported_cause or (str(errors.ProcessLostError.disappeared(silent, "")) if silent else None)
            # Wait, because the main thread may be about to raise the same cause.
            if cause is not None and not self._stopped.wait(2 * SECONDS_TO_REPORT):
                self._write_cause(cause)
                if sys.stdout is not None:  # None: the process was started without it
                    sys.stdout.flush()
                os._exit(1)

    def _find_silent_processes(self, seconds: float) -> list[str]:
        """Return the names of the processes that were silent for `seconds`.

        If the store itself is silent, nothing is known about the others: return only the process that hosts the store.
        """
        now = time.monotonic()
        if now - self._last_answer >= seconds:
            return [self._peer_names.get(0, f"the store of {self._name}")]
        return [self._peer_names[rank] for rank, beat_time in self._last_beat.items() if now - beat_time >= seconds]


def _is_stop(error: BaseException) -> bool:
    """Return whether SIGTERM stopped this process at once; processes that save their state agree on that first."""
    return isinstance(error, errors.TerminatedError) and error.saved is None


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an error may only mean that another process disappeared."""
    if not isinstance(error, RuntimeError):
        return False
    # The common base class of torch's distributed errors, DistError, exists only since torch 2.2.
    is_distributed_error = type(error).__module__.startswith("torch.distributed")
    return is_distributed_error or any(sign in str(error) for sign in ("gloo", "NCCL", "TCPStore"))


def _format_error(error: BaseException) -> str:
    text = str(error) if isinstance(error, errors.ZooError) else f"{type(error).__name__}: {error}"
    return text[:MAX_CAUSE_CHARACTERS]
