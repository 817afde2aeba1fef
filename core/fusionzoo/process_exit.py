"""The end of a process: a thread that a plugin or a library has started must not keep it from ending."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

MAX_EXIT_SECONDS = 60.0


@contextmanager
def limit_exit_time(seconds: float = MAX_EXIT_SECONDS) -> Iterator[None]:
    """After the block, the last one of the process, end the process within `seconds` although threads still run.

    Python waits for every thread that is not a daemon. A job that has written its results would run, and cost money,
    until it is killed. The exit status is that of the block: SystemExit has one.
    """
    status = 1
    try:
        yield
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        threading.Thread(target=_end_process, args=(status, seconds), name="exit limit", daemon=True).start()


def _end_process(status: int, seconds: float) -> None:
    time.sleep(seconds)
    waiting = [
        thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()
    ]
    if not waiting:
        return  # the process does something else at its end, such as an upload
    try:
        sys.stdout.flush()
        sys.stderr.write(
            f"The process ends with status {status} although threads still run, which a plugin or a library has "
            f"started: {', '.join(waiting)}. Start such threads with daemon=True, or end them.\n"
        )
        sys.stderr.flush()
    finally:
        os._exit(status)
