"""The memory of this machine."""

from __future__ import annotations

import os
from pathlib import Path

import torch

CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def read_total_memory() -> int:
    """Return the memory of the GPU, or without one, of this machine or container, in bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    texts = [path.read_text().strip() for path in CGROUP_LIMITS if path.is_file()]
    return min(limits + [int(text) for text in texts if text.isdigit()])
