"""The device of this process."""

from __future__ import annotations

import torch


def find_device() -> torch.device:
    """Return the current GPU, or the CPU if there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
