"""Errors of a process that may not use more memory: the cause is the limit, and not the model or the file."""

from __future__ import annotations

import resource

from fusionzoo import errors


def find_memory_error(error: BaseException, place: str) -> errors.MemoryExhaustedError | None:
    """Return what to report if memory was exhausted, according to an exception or its causes; None otherwise."""
    cause: BaseException | None = error
    while cause is not None:
        if errors.is_out_of_memory(cause):
            return errors.MemoryExhaustedError(place, cause, read_address_space_limit())
        cause = cause.__cause__
    return None


def read_address_space_limit() -> int | None:
    """Return the limit on the address space of this process (`ulimit -v`) in bytes; None without a limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if soft == resource.RLIM_INFINITY else soft
