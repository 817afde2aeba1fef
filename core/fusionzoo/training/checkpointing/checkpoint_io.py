"""Checkpoint files: their names, and how they are written atomically, verified, read and deleted."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from fusionzoo.atomic_files import translate_write_errors, write_atomically
from fusionzoo.training.distributed import collectives

BEST_FILE, LAST_FILE, PREVIOUS_FILE = "best.ckpt", "last.ckpt", "before-last.ckpt"
INCOMING_FILE = "incoming.ckpt"  # a new last checkpoint, until the old one has been renamed
STATE_KEY = "fusionzoo"  # the entry of a checkpoint that holds the job's fingerprint, random states and summary
MODEL_PREFIX = "model."  # `Classifier` holds the model under this name


class AtomicCheckpoints(TorchCheckpointIO):
    """Write each checkpoint completely or not at all, and translate a full disk into a user-facing error.

    Saving the last checkpoint keeps the one before it as `before-last.ckpt`. In a job of several processes, the first
    process reads and writes for all of them.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        keeps_previous = path.name == LAST_FILE
        target = path.with_name(INCOMING_FILE) if keeps_previous else path
        write_atomically(target, lambda file: torch.save(checkpoint, file))
        if keeps_previous:
            with translate_write_errors(path):
                if path.exists():
                    path.replace(path.with_name(PREVIOUS_FILE))
                target.replace(path)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return collectives.broadcast_from_first(lambda: torch.load(path, map_location="cpu", weights_only=True))


def read_checkpoint_lazily(file: Path) -> dict[str, Any]:
    """Return a checkpoint's content on the CPU; its tensors are memory-mapped, so that unused ones are never read."""
    content: dict[str, Any] = torch.load(str(file), map_location="cpu", weights_only=True, mmap=True)
    return content


def load_weights(file: Path) -> dict[str, Tensor]:
    """Return the model's state dict from a checkpoint, without the LightningModule's prefix."""
    saved: dict[str, Tensor] = torch.load(file, map_location="cpu", weights_only=True)["state_dict"]
    return {name.removeprefix(MODEL_PREFIX): value for name, value in saved.items() if name.startswith(MODEL_PREFIX)}


def check_intact(file: Path) -> None:
    """Verify the checksums of a checkpoint file.

    Raises:
        OSError: the file is missing or cannot be read.
        ValueError: a checksum does not match.
        zipfile.BadZipFile: the file is truncated.
    """
    with zipfile.ZipFile(file) as archive:
        if (damaged_part := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its part {damaged_part} does not match")


def delete_checkpoints(folder: Path) -> list[str]:
    """Delete the best and last checkpoints of an earlier run, and return the names of the deleted files."""
    names = [name for name in (BEST_FILE, LAST_FILE, PREVIOUS_FILE, INCOMING_FILE) if (folder / name).exists()]
    for name in names:
        (folder / name).unlink()
    return names
