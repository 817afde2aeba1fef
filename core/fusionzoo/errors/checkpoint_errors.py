"""Going on from a checkpoint, and stopping."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from fusionzoo.errors.base import ZooError


class ForeignCheckpointError(ZooError):
    """A checkpoint in the job's folder was written by something else, or by another version."""

    def __init__(self, file: Path) -> None:
        super().__init__(
            f"{file} is no checkpoint that this version of fusionzoo can go on from: it does not say whose it is.\n"
            f"Fix: move it away to train from the beginning, or set SM_CHECKPOINT_DIR to another folder."
        )


class AnotherJobError(ZooError):
    """The checkpoint in the job's folder is of a job with other settings, code or data."""

    SHOWN = 5

    def __init__(self, file: Path, differences: Mapping[str, tuple[str | None, str]]) -> None:
        shown = [f"{name}: {then or 'nothing'} then, {now} now" for name, (then, now) in differences.items()]
        shown = [line if len(line) <= 200 else f"{line[:197]}..." for line in shown]
        more = [f"and {len(shown) - self.SHOWN} more"] if len(shown) > self.SHOWN else []
        listed = "".join(f"\n- {line}" for line in [*shown[: self.SHOWN], *more])
        super().__init__(
            f"{file} is a checkpoint of another job, which this one cannot go on from. What differs:{listed}\n"
            f"Fix: set it as it was to go on; to train from the beginning, empty {file.parent} or set "
            "SM_CHECKPOINT_DIR to another folder."
        )


class TerminatedError(ZooError):
    """SIGTERM or Ctrl-C: whoever runs the job wants it to stop."""

    def __init__(self, saved: Path | None, epoch: int = 0, step: int = 0) -> None:
        state = "" if saved is None else f" Its state after step {step} of epoch {epoch} is in {saved}."
        super().__init__(
            f"The job was told to stop (SIGTERM, or Ctrl-C).{state}\n"
            "Fix: start it again with the same checkpoint folder; it goes on from its last checkpoint, if it has one."
        )
