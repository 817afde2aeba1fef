"""SIGTERM for a command that is the first process of a container, as in the images.

The kernel does not deliver a signal to the process with id 1 unless the process has a handler for it. This module is
imported before all others, so that a container can also be stopped while a command imports its libraries.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def end_on_sigterm() -> None:
    """From now on, let SIGTERM end this process if it is the first one, as it ends any other process."""
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _end)


def restore_sigterm() -> None:
    """Undo `end_on_sigterm`, for a job that installs its own handler only if there is none."""
    if signal.getsignal(signal.SIGTERM) is _end:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)  # ends a process that this one has forked
    os._exit(128 + number)
