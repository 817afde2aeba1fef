"""The cores and the memory that the control groups of a container leave to a process (Linux, versions 1 and 2)."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def count_cores() -> int:
    """Return the number of cores that this process may use: its affinity, and at most its quota, rounded up."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cores, *(max(1, math.ceil(quota)) for quota in _read_cpu_quotas())])


def count_cores_of_quota() -> int | None:
    """Return the number of cores if a quota limits them; None otherwise: libraries count cores without quotas."""
    cores = count_cores()
    return cores if any(math.ceil(quota) <= cores for quota in _read_cpu_quotas()) else None


def read_memory_limit() -> int | None:
    """Return the smallest limit on the memory of this process in bytes; None without a limit."""
    files = ("memory.max", "memory.limit_in_bytes")
    texts = [_read(folder / name) for folder in _list_folders("memory") for name in files]
    return min((int(text) for text in texts if text.isdecimal()), default=None)


def _read_cpu_quotas() -> Iterator[float]:
    for folder in _list_folders("cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2; "max" is no quota
        if not period:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")  # -1 is no quota
        if quota.isdecimal() and period.isdecimal() and int(period):
            yield int(quota) / int(period)


def _list_folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the groups of this process and of those that contain them, also where they are absent.

    A container often sees its own group as the root, but its path on the host in `OWN_GROUPS`; the root is therefore
    always among them.
    """
    for line in _read(OWN_GROUPS).splitlines():
        _, names, path = line.split(":", 2)
        if names and controller not in names.split(","):
            continue
        root = CONTROL_GROUPS / controller if names else CONTROL_GROUPS
        own = root / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder.is_relative_to(root))


def _read(file: Path) -> str:
    """Return the text of a file; empty if it cannot be read: there are no control groups, or not of this version."""
    try:
        return file.read_text("utf-8").strip()
    except OSError:
        return ""
