"""Stop a process of a job when torchrun, which started it, has been killed, so that it does not continue unattended."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)

SECONDS_BETWEEN_CHECKS = 1.0


@contextmanager
def stop_when_parent_ends() -> Iterator[None]:
    """In the block, send SIGTERM to this process once its parent has ended: a training saves its state and stops."""
    parent, stopped = os.getppid(), threading.Event()

    def watch() -> None:
        while not stopped.wait(SECONDS_BETWEEN_CHECKS):
            if os.getppid() != parent:
                log.error("Process %d, which started this one, has ended. The job stops.", parent)
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=watch, name="parent watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
