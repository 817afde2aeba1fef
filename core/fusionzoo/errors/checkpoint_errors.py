"""Resuming from a checkpoint, and stopping."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.machine_fixes import READ_FIXES
from fusionzoo.errors.wording import cut, short

MAX_LISTED_DIFFERENCES = 5


class ForeignCheckpointError(ZooError):
    """The checkpoint was written by another program, or by another version of fusionzoo."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"This version of fusionzoo cannot resume from {file}: the file does not name the job that wrote it.",
            "move the file away to train from the beginning, or set SM_CHECKPOINT_DIR to another folder.",
            "FZ-C001",
        )


class AnotherJobError(ZooError):
    """The checkpoint belongs to a job with other settings, code or data."""

    def __init__(self, file: Path, differences: Mapping[str, tuple[str | None, str]]) -> None:
        changes = {name: (_describe_value(then), _describe_value(now)) for name, (then, now) in differences.items()}
        shown = [cut(f"{name}: was {then}, is {now}", 200) for name, (then, now) in changes.items()]
        rest = [f"and {len(shown) - MAX_LISTED_DIFFERENCES} more"] if len(shown) > MAX_LISTED_DIFFERENCES else []
        listed = "".join(f"\n- {line}" for line in [*shown[:MAX_LISTED_DIFFERENCES], *rest])
        super().__init__(
            f"Cannot resume from {file}: it is the checkpoint of another job. The differences:{listed}",
            f"restore these to resume; to train from the beginning, empty {file.parent}, or set SM_CHECKPOINT_DIR to "
            "another folder.",
            "FZ-C002",
        )


def _describe_value(value: str | None) -> str:
    """Return an entry of a fingerprint, which has settings as Python writes them, for a message."""
    return "absent" if value is None else "not set" if value == "None" else value


class TerminatedError(ZooError):
    """The job received a signal, for example because a spot instance was reclaimed or a terminal was closed."""

    def __init__(self, saved: Path | None, epoch: int = 0, step: int = 0, shipped: str = "") -> None:
        self.saved = saved
        state = "" if saved is None else f" The state after step {step} of epoch {epoch} is in {saved}."
        super().__init__(
            f"The job was stopped by SIGTERM, SIGHUP, SIGQUIT or Ctrl-C.{state}{shipped}",
            "start the job again with the same checkpoint folder; it resumes from its last checkpoint, if there is "
            "one.",
            "FZ-C003",
        )


class ReplacedCheckpointError(ZooError):
    """A checkpoint that this job wrote has been replaced by the file of another job."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"Another job or program has replaced {file} while this job was running, so its weights are not used.",
            "give each job a checkpoint folder of its own (SM_CHECKPOINT_DIR), and start this job again.",
            "FZ-C004",
        )


class CheckpointFileError(ZooError):
    """A checkpoint cannot be read. Nothing says that it is damaged, so it is not deleted."""

    @classmethod
    def unreadable(cls, file: Path, cause: Exception) -> CheckpointFileError:
        """The user may not read the file, or the disk, its connection or a limit of the machine prevents it."""
        number = cause.errno if isinstance(cause, OSError) else None
        reason = short(cause) if number is None else f"{os.strerror(number)} ({errno.errorcode.get(number, number)})"
        fix = READ_FIXES.get(number or 0, "remove the cause, then start the job again")
        return cls(
            f"The checkpoint {file} cannot be read: {reason}. The job does not start from the beginning, because the "
            "file may be intact.",
            f"{fix}; to train from the beginning, empty {file.parent}, or set SM_CHECKPOINT_DIR to another folder.",
            "FZ-O037",
        )

    @classmethod
    def not_a_file(cls, path: Path, kind: str) -> CheckpointFileError:
        """A folder, pipe, socket or device has the name of a checkpoint."""
        return cls(
            f"{path} is {kind}, but a checkpoint is a file.",
            "move it away, or set SM_CHECKPOINT_DIR to another folder.",
            "FZ-O038",
        )


class FewerEpochsError(ZooError):
    """The checkpoint belongs to a job with a larger `max_epochs`."""

    def __init__(self, file: Path, then: int, now: int) -> None:
        super().__init__(
            f"Cannot resume from {file}: max_epochs was {then}, is {now}. A training can be made longer, not shorter.",
            f"set max_epochs to at least {then} to resume; to train from the beginning, empty {file.parent}, or set "
            "SM_CHECKPOINT_DIR to another folder.",
            "FZ-C005",
        )


class UnusableCheckpointError(ZooError):
    """A checkpoint of this job does not fit its model: its tensors or the optimizer's state were changed."""

    def __init__(self, file: Path, cause: Exception | str) -> None:
        reason = cause if isinstance(cause, str) else f"{type(cause).__name__}: {short(cause)}"
        super().__init__(
            f"Cannot resume from {file}: its content does not fit this job ({reason}).",
            f"restore the file, or empty {file.parent} to train from the beginning.",
            "FZ-C006",
        )
