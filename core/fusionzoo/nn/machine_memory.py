"""The memory of this machine."""

from __future__ import annotations

import os

import torch

from fusionzoo.container_limits import read_memory_limit


def read_total_memory() -> int:
    """Return the memory of the GPU, or without one, of this machine or container, in bytes."""
    if torch.cuda.is_available():
        return int(torch.cuda.get_device_properties(0).total_memory)
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(installed, read_memory_limit() or installed)
