"""Errors of a process that may not use more memory or threads: the cause is the limit, not the model or the file."""

from __future__ import annotations

import resource

from fusionzoo import errors
from fusionzoo.errors.machine_fixes import is_thread_limit


def find_limit_error(error: BaseException, place: str) -> errors.MemoryExhaustedError | errors.ThreadLimitError | None:
    """Return what to report if an exception or its causes say that memory or threads are exhausted; None otherwise."""
    cause: BaseException | None = error
    while cause is not None:
        if errors.is_out_of_memory(cause):
            return errors.MemoryExhaustedError(place, cause, read_address_space_limit())
        if is_thread_limit(cause):
            return errors.ThreadLimitError(place, cause)
        cause = cause.__cause__
    return None


def read_address_space_limit() -> int | None:
    """Return the limit on the address space of this process (`ulimit -v`) in bytes; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
