"""The threads of a process: as many as allowed, or as many as the system lets it start, and how many are busy."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

log = logging.getLogger(__name__)


class RequestThreads(ThreadPoolExecutor):
    """A pool in which work waits for the existing threads if the system refuses another one.

    A limit on the processes of a user or a container counts threads. The executor would raise RuntimeError, which ends
    the process of gunicorn with all requests that it is answering.
    """

    _is_limited = False

    def _adjust_thread_count(self) -> None:
        try:
            super()._adjust_thread_count()
        except RuntimeError as cause:
            if not self._threads:
                raise
            if not self._is_limited:
                self._is_limited = True
                log.warning(
                    "Requests have %d threads instead of %d (%s). Raise the limit of processes, such as with "
                    "TasksMax of systemd or ulimit -u, or start the server with fewer --workers.",
                    len(self._threads),
                    self._max_workers,
                    cause,
                )


class BusyThreads:
    """Counts the threads that answer requests: those that wait for their client count as well."""

    def __init__(self) -> None:
        self._count, self._lock = 0, threading.Lock()

    @contextmanager
    def add(self) -> Iterator[int]:
        """Count this thread until the end of the block; yield how many are busy with it."""
        with self._lock:
            self._count += 1
            count = self._count
        try:
            yield count
        finally:
            with self._lock:
                self._count -= 1
