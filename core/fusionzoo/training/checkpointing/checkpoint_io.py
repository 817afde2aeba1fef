"""Checkpoint files: their names, and how they are written atomically, verified, read and deleted."""

from __future__ import annotations

import errno
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor

from fusionzoo import errors
from fusionzoo.atomic_files import translate_write_errors, write_atomically
from fusionzoo.errors.wording import describe_file_kind, short
from fusionzoo.training.checkpointing.fingerprint import compare_fingerprints
from fusionzoo.training.distributed import collectives

BEST_FILE, LAST_FILE, PREVIOUS_FILE = "best.ckpt", "last.ckpt", "before-last.ckpt"
TOP_FILES = "top-*.ckpt"  # the best validations, whose weights a job averages
INCOMING_FILE = "incoming.ckpt"  # a new last checkpoint, until the old one has been renamed
STATE_KEY = "fusionzoo"  # the entry of a checkpoint that holds the job's fingerprint, random states and summary
MODEL_PREFIX = "model."  # `TrainingModule` holds the model under this name
TORCH_READ_ERROR = re.compile(r"unable to (?:open|stat|mmap)\b")  # torch raises RuntimeError instead of OSError


class AtomicCheckpoints(TorchCheckpointIO):
    """Write each checkpoint completely or not at all, and translate a full disk into a user-facing error.

    Saving the last checkpoint keeps the one before it as `before-last.ckpt`. In a job of several processes, the first
    process reads and writes for all of them.

    Args:
        job_fingerprint: stored in each checkpoint; a checkpoint of a job with another one is not loaded.
    """

    def __init__(self, job_fingerprint: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._job_fingerprint = dict(job_fingerprint or {})

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        path = Path(path)
        checkpoint.setdefault(STATE_KEY, {})["job_fingerprint"] = self._job_fingerprint
        keeps_previous = path.name == LAST_FILE
        target = path.with_name(INCOMING_FILE) if keeps_previous else path
        write_atomically(target, lambda file: torch.save(checkpoint, file))
        if keeps_previous:
            with translate_write_errors(path):
                if path.exists():
                    path.replace(path.with_name(PREVIOUS_FILE))
                target.replace(path)

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        return collectives.broadcast_from_first(lambda: _load_own_checkpoint(Path(path), self._job_fingerprint))


def read_checkpoint_lazily(file: Path) -> dict[str, Any]:
    """Return a checkpoint's content on the CPU; its tensors are memory-mapped, so that unused ones are never read.

    Raises:
        FileNotFoundError: the file is missing.
        errors.CheckpointFileError: it cannot be read.
        ValueError: it is not a checkpoint.
    """
    return _load(file, mmap=True)


def load_weights(file: Path, job_fingerprint: Mapping[str, str] | None = None) -> dict[str, Tensor]:
    """Return the model's state dict from a checkpoint, without the LightningModule's prefix.

    Raises:
        errors.ReplacedCheckpointError: a job with another fingerprint wrote the file.
    """
    saved: dict[str, Tensor] = _load_own_checkpoint(file, job_fingerprint or {})["state_dict"]
    return {name.removeprefix(MODEL_PREFIX): value for name, value in saved.items() if name.startswith(MODEL_PREFIX)}


def get_job_fingerprint(checkpoint: Mapping[str, Any]) -> Mapping[str, str]:
    """Return the fingerprint of the job that wrote a checkpoint; empty if another program wrote it."""
    state = checkpoint.get(STATE_KEY)
    fingerprint = state.get("job_fingerprint") if isinstance(state, dict) else None
    return fingerprint if isinstance(fingerprint, dict) else {}


def _load_own_checkpoint(file: Path, job_fingerprint: Mapping[str, str]) -> dict[str, Any]:
    try:
        content = _load(file)
    except ValueError as cause:
        raise errors.ReplacedCheckpointError(file) from cause
    if compare_fingerprints(get_job_fingerprint(content), job_fingerprint):
        raise errors.ReplacedCheckpointError(file)
    return content


def _load(file: Path, mmap: bool | None = None) -> dict[str, Any]:
    with _separate_damage(file):
        content = torch.load(str(file), map_location="cpu", weights_only=True, mmap=mmap)
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} holds a {type(content).__name__} and is not a checkpoint")
    return content


def check_intact(file: Path) -> None:
    """Verify the checksums of a checkpoint file.

    Raises:
        FileNotFoundError: the file is missing.
        errors.CheckpointFileError: it cannot be read, or is not a file.
        ValueError: it is truncated, or a checksum does not match.
    """
    check_regular(file)
    with _separate_damage(file), zipfile.ZipFile(file) as archive:
        damaged_part = archive.testzip()
    if damaged_part is not None:
        raise ValueError(f"the checksum of its part {damaged_part} does not match")


def check_regular(file: Path) -> None:
    """Check that a checkpoint is a regular file: reading a pipe would never end.

    Raises:
        FileNotFoundError: it is missing.
        errors.CheckpointFileError: it is a folder, pipe, socket or device, or cannot be examined.
    """
    with _separate_damage(file):
        mode = file.stat().st_mode
    if not stat.S_ISREG(mode):
        raise errors.CheckpointFileError.not_a_file(file, describe_file_kind(mode))


@contextmanager
def _separate_damage(file: Path) -> Iterator[None]:
    """In the block, which reads a file, turn errors of its content into ValueError, and errors of reading into others.

    Raises:
        FileNotFoundError: the file is missing.
        errors.CheckpointFileError: it cannot be read, and may be intact.
        ValueError: its content is damaged.
    """
    try:
        yield
    except (FileNotFoundError, MemoryError):
        raise
    except Exception as cause:  # damaged content can make zipfile and the unpickler raise anything
        number = cause.errno if isinstance(cause, OSError) else None  # None: bz2 raises OSError for damaged content
        if number not in (None, errno.EINVAL) or TORCH_READ_ERROR.search(str(cause)):
            raise errors.CheckpointFileError.unreadable(file, cause) from cause
        # EINVAL: damaged content names a negative position
        if errors.is_machine_limit(cause):
            raise
        raise ValueError(f"{file.name} cannot be loaded: {short(cause)}") from cause


def delete_checkpoints(folder: Path) -> list[str]:
    """Delete the best and last checkpoints of an earlier run, and return the names of the deleted files."""
    names = [name for name in (BEST_FILE, LAST_FILE, PREVIOUS_FILE, INCOMING_FILE) if (folder / name).exists()]
    for name in names:
        (folder / name).unlink()
    return names
