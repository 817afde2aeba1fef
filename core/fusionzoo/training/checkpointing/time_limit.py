"""End the training early enough that the whole job ends within `max_minutes`."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from fusionzoo.training.monitoring.resource_usage import format_duration

log = logging.getLogger(__name__)

SAFETY_FACTOR = 1.25
REMEMBERED_BATCHES = 32


@dataclass(frozen=True)
class TimeBudget:
    """When the job has to end, on the clock of `time.monotonic`, and how much of the time is not for training.

    Attributes:
        end: when the job has to end.
        finish_seconds: the estimated time from the end of the training to the end of the job.
        validation_seconds: the estimated time of a validation, until one has been measured.
    """

    end: float
    finish_seconds: float
    validation_seconds: float


class TimeLimit(Callback):
    """Measures batches and validations, and says when the training has to end.

    It ends when no more than one further validation fits, because steps after the last validation are lost.

    Args:
        budget: None if the job has no limit.
        steps_between_checks: how many optimizer steps lie between two calls of `is_over`.
        clock: returns seconds.
    """

    def __init__(
        self, budget: TimeBudget | None, steps_between_checks: int = 1, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.budget, self._clock, self._steps_between_checks = budget, clock, steps_between_checks
        self._batch_seconds: deque[float] = deque([0.0], maxlen=REMEMBERED_BATCHES)
        self._has_warmed_up = False  # the first batch is slow, for example because it compiles
        self._validation_seconds: float | None = None
        self._mark = 0.0  # the end of the batch before, or the begin of a validation
        self.save_seconds = 0.0  # of the slowest checkpoint

    @property
    def validation_seconds(self) -> float:
        """The time of a validation: the longest one so far, or an estimate before the first one."""
        if self._validation_seconds is not None:
            return self._validation_seconds
        return 0.0 if self.budget is None else self.budget.validation_seconds

    @property
    def seconds_left(self) -> float:
        """The time that is left for training and validation."""
        if self.budget is None:
            return float("inf")
        return self.budget.end - self.budget.finish_seconds - SAFETY_FACTOR * self.save_seconds - self._clock()

    def is_over(self, trainer: Trainer) -> bool:
        """Return whether the training has to end after this step."""
        if self.budget is None:
            return False
        batches = self._steps_between_checks * trainer.accumulate_grad_batches
        return self.seconds_left <= batches * max(self._batch_seconds) + self.validation_seconds

    def has_time_to_validate(self) -> bool:
        """Return whether one more validation fits."""
        return self.seconds_left >= self.validation_seconds

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.budget is not None:
            left = self.seconds_left
            log.info(
                "max_minutes leaves %s for training; %s are reserved for the evaluation and the export",
                *(format_duration(max(0.0, left)), format_duration(self.budget.finish_seconds)),
            )
            if left <= 0:
                log.warning("max_minutes is used up before the first step: training ends after one step.")
        self._mark = self._clock()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = self._clock()
        if self._has_warmed_up:
            self._batch_seconds.append(now - self._mark)
        self._has_warmed_up, self._mark = True, now

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._mark = self._clock()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        now = self._clock()
        self._validation_seconds = max(now - self._mark, self._validation_seconds or 0.0)
        self._mark = now
