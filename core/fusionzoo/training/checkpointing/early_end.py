"""The end of a training before its last step: the state is saved, and the best weights so far become the model."""

from __future__ import annotations

from typing import Literal

EndReason = Literal["max_epochs", "early_stopping", "max_minutes", "sigterm"]
"""Why a training ended, as `ended_by` of metrics.json states it."""


class EndedEarlyError(Exception):
    """Leaves the trainer; not an error for the user. The last checkpoint holds the state, from which a job resumes.

    Attributes:
        reason: what ended the training.
        epoch: the epoch in which it ended, from 1.
        step: the optimizer steps done.
    """

    def __init__(self, reason: EndReason, epoch: int, step: int) -> None:
        super().__init__(f"ended by {reason} after step {step} of epoch {epoch}")
        self.reason, self.epoch, self.step = reason, epoch, step
