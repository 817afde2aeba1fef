"""The folder in which the processes of a server share their metrics. The next server removes that of a killed one."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PREFIX = "fusionzoo-server-"


@contextmanager
def create_metrics_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder, which is removed at the end of the block, and remove the folders of servers that were killed.

    A server holds a lock on its folder. Its processes inherit the lock, and the system releases it when all have ended.
    """
    for folder in parent.glob(f"{PREFIX}*"):
        _remove_abandoned(folder)
    owner = os.getpid()
    folder, lock = _create_locked(parent)
    try:
        yield folder
    finally:
        if os.getpid() == owner:  # the processes that gunicorn forks leave the block too
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _create_locked(parent: Path) -> tuple[Path, int]:
    """Return a new folder, and the file descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        with suppress(FileNotFoundError):  # another server has found the folder without a lock, and removed it
            lock = os.open(folder, os.O_RDONLY)
            with suppress(OSError):  # the file system has no locks; then nobody removes the folder
                fcntl.flock(lock, fcntl.LOCK_EX)
            if folder.exists():
                return folder, lock
            os.close(lock)


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder that no process has locked."""
    with suppress(OSError):  # it is locked or removed already, or belongs to another user
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
