"""Lock a folder that a job writes to, so that another job that starts at the same time is refused.

The operating system releases the lock when its process ends. Some file systems have no locks, or locks that other
hosts do not see. Therefore the owner also writes a heartbeat into the folder.
"""

from __future__ import annotations

import enum
import errno
import fcntl
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from fusionzoo import errors
from fusionzoo.atomic_files import check_writable, translate_write_errors

if TYPE_CHECKING:
    from typing_extensions import Self

log = logging.getLogger(__name__)

LOCK_FILE, OWNER_FILE = ".job.lock", ".job.json"
BEAT_SECONDS = 5.0
MAX_SILENCE_SECONDS = 20.0  # after which an owner counts as dead
SETTLING_SECONDS = 1.0  # without locks, two jobs that start together know the owner after this time
READ_ATTEMPTS = 5
NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK, errno.EINVAL})
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Owner:
    """The process that writes to a folder, as its heartbeat file describes it."""

    job_id: str
    host: str
    pid: int
    kernel: str  # of the machine's current boot; locks are always visible within one kernel
    beat: int = 0

    @classmethod
    def this_process(cls, job_id: str) -> Self:
        """Return this process as the owner."""
        kernel = BOOT_ID.read_text("utf-8").strip() if BOOT_ID.exists() else socket.gethostname()
        return cls(job_id, socket.gethostname(), os.getpid(), kernel)

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Return the owner of a folder; None if there is none, or if the heartbeat file is damaged."""
        for _ in range(READ_ATTEMPTS):
            try:
                return cls(**json.loads((folder / OWNER_FILE).read_text("utf-8")))
            except FileNotFoundError:
                return None
            except (ValueError, TypeError, RecursionError):
                time.sleep(SETTLING_SECONDS / 20)  # it may be half-written
        return None

    def write(self, folder: Path) -> None:
        """Write the heartbeat file. It is closed each time, because network file systems publish a file when it is."""
        (folder / OWNER_FILE).write_text(json.dumps(asdict(self)), "utf-8")


class _LockState(enum.Enum):
    HELD = "by this process"
    HELD_BY_OTHER = "by another process"
    UNSUPPORTED = "the file system has no locks"


@contextmanager
def lock_folder(folder: Path, job_id: str) -> Iterator[None]:
    """Own a folder in the block; create it if necessary. If another process of this job owns it, do nothing.

    Raises:
        errors.FolderInUseError: another job writes to the folder.
        errors.OutputError: the folder is not writable.
    """
    check_writable(folder)
    with ExitStack() as stack:
        with translate_write_errors(folder):
            state, descriptor = _acquire(folder / LOCK_FILE)
            if descriptor is not None:
                stack.callback(_release, descriptor, folder / LOCK_FILE)
            owner = Owner.read(folder)
            is_own_job = owner is not None and owner.job_id == job_id and state is not _LockState.HELD
            if not is_own_job:
                _check_free(folder, owner, state)
                stack.enter_context(_Heartbeat(folder, Owner.this_process(job_id), state))
        yield


def is_taken(folder: Path, job_id: str) -> bool:
    """Return whether another job has taken a folder that this job locked, which happens after a long silence."""
    owner = Owner.read(folder)
    return owner is not None and owner.job_id != job_id


def _acquire(path: Path) -> tuple[_LockState, int | None]:
    """Try to lock a file; return its descriptor unless another process holds the lock.

    filelock is not used, because its versions differ on a file system without locks: some report a lock that is held,
    some leave a file that locks the folder after the process was killed.
    """
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in NO_LOCKS:
                return _LockState.UNSUPPORTED, descriptor
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                return _LockState.HELD_BY_OTHER, None
            raise
        if _is_same_file(descriptor, path):
            return _LockState.HELD, descriptor
        os.close(descriptor)  # the job before this one has just removed the file


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _release(descriptor: int, path: Path) -> None:
    """Remove the lock file while it is still locked, then unlock it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Cannot remove %s: %s", path, error)
    finally:
        os.close(descriptor)


def _check_free(folder: Path, owner: Owner | None, state: _LockState) -> None:
    """Check that no other job writes to the folder, whether a lock or only a heartbeat shows it.

    Raises:
        errors.FolderInUseError: another job does.
    """
    if state is _LockState.HELD_BY_OTHER:
        deadline = time.monotonic() + SETTLING_SECONDS
        while owner is None and time.monotonic() < deadline:  # it is just starting
            time.sleep(SETTLING_SECONDS / 20)
            owner = Owner.read(folder)
        raise _in_use(folder, owner)
    if owner is None or (state is _LockState.HELD and owner.kernel == Owner.this_process("").kernel):
        return  # within one kernel, a lock that is free proves that its last owner has ended
    log.warning(
        "%s was in use by process %d on host %s. Waiting up to %.0f s to see whether that job is still running.",
        *(folder, owner.pid, owner.host, MAX_SILENCE_SECONDS),
    )
    deadline = time.monotonic() + MAX_SILENCE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(SETTLING_SECONDS / 2)
        current = Owner.read(folder)
        if current is not None and current != owner:
            raise _in_use(folder, current)
        if not (folder / OWNER_FILE).exists():
            return  # it has just ended


def _in_use(folder: Path, owner: Owner | None) -> errors.FolderInUseError:
    return errors.FolderInUseError(folder, *((None, None) if owner is None else (owner.host, owner.pid)))


class _Heartbeat:
    """Writes the heartbeat file in a thread, and removes it at the end.

    If another job takes the folder, because it saw no heartbeat for long, the thread sends SIGTERM to this process,
    and leaving the block raises errors.FolderInUseError.
    """

    def __init__(self, folder: Path, owner: Owner, state: _LockState) -> None:
        self._folder, self._owner, self._state = folder, owner, state
        self._successor: Owner | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat of {folder}", daemon=True)

    def __enter__(self) -> Self:
        self._owner.write(self._folder)
        if self._state is _LockState.UNSUPPORTED:
            time.sleep(SETTLING_SECONDS)
            current = Owner.read(self._folder)
            if current is not None and current.job_id != self._owner.job_id:
                raise _in_use(self._folder, current)
        self._thread.start()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        if self._successor is not None:
            raise _in_use(self._folder, self._successor) from error
        try:
            (self._folder / OWNER_FILE).unlink(missing_ok=True)
        except OSError as cause:
            log.warning("Cannot remove %s: %s", self._folder / OWNER_FILE, cause)

    def _beat(self) -> None:
        while not self._stopped.wait(BEAT_SECONDS):
            try:
                current = Owner.read(self._folder)
                if current is not None and current.job_id != self._owner.job_id:
                    self._successor = current
                    log.error("%s", _in_use(self._folder, current))
                    os.kill(os.getpid(), signal.SIGTERM)
                    return
                self._owner = replace(self._owner, beat=self._owner.beat + 1)
                self._owner.write(self._folder)
            except OSError as error:
                log.warning("Cannot write %s: %s", self._folder / OWNER_FILE, error)
