"""How to fix what the operating system refuses: reading, writing, and limits on files, threads and processes."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from types import MappingProxyType

from fusionzoo.errors.base import ZooError

WRITE_FIXES: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOSPC: "free or add disk space there (in SageMaker, a larger volume_size)",
        errno.EDQUOT: "free disk space there, or raise the quota",
        errno.EROFS: "mount it writable, or use another folder",
        errno.EACCES: "let this user write there, or use another folder",
        errno.EPERM: "let this user write there, or use another folder",
        errno.EFBIG: "raise the limit on file size (ulimit -f)",
        errno.EIO: "check the disk or its connection, then run again",
    }
)
"""The fix for each reason for which the operating system refuses to write."""

OPEN_FIXES: Mapping[int, str] = MappingProxyType(
    {
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
        errno.ENFILE: "raise the limit on open files of the machine (fs.file-max)",
    }
)
"""The fix for each limit on open files."""

READ_FIXES: Mapping[int, str] = MappingProxyType(
    {
        errno.EACCES: "let this user read it",
        errno.EPERM: "let this user read it",
        errno.EIO: "check the disk or its connection, then start the job again",
        errno.ESTALE: "mount the file system again, then start the job again",
        **OPEN_FIXES,
    }
)
"""The fix for each reason for which the operating system refuses to read."""

THREAD_SIGNS = ("can't start new thread", "pthread_create")
THREAD_FIX = (
    "raise the limit on processes and threads (ulimit -u, and the pids limit of the container), or set OMP_NUM_THREADS "
    "to a lower number"
)
"""The fix if no further thread or process can be started."""


def is_thread_limit(error: BaseException) -> bool:
    """Return whether an exception says that the system starts no further thread or process."""
    if isinstance(error, ZooError | ValueError):
        return False
    if isinstance(error, OSError):
        return error.errno == errno.EAGAIN and error.filename is None  # of os.fork
    is_system_error = type(error) is RuntimeError and str(error) == os.strerror(errno.EAGAIN)  # of std::thread
    return is_system_error or any(sign in str(error) for sign in THREAD_SIGNS)


def find_machine_fix(error: BaseException) -> str:
    """Return the fix for an error that a disk or a limit of the machine causes; empty for other errors.

    A missing permission is not among them: the path may be wrong.
    """
    if is_thread_limit(error):
        return THREAD_FIX
    if isinstance(error, OSError) and error.errno is not None and error.errno not in (errno.EACCES, errno.EPERM):
        return OPEN_FIXES.get(error.errno) or WRITE_FIXES.get(error.errno, "")
    # A library that cannot be imported, or torch, states the reason as text.
    return next((fix for number, fix in OPEN_FIXES.items() if os.strerror(number) in str(error)), "")
