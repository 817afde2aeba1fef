"""The phases of a job, and how many seconds each of them took."""

from __future__ import annotations

import time
from collections.abc import Callable

PREPARE, BUILD, TRAIN, VALIDATE, EVALUATE = "prepare", "build", "train", "validate", "evaluate"


class Phases:
    """A stopwatch for phases that follow each other; each second belongs to the phase that began last.

    Args:
        clock: returns seconds since an arbitrary point in time.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._completed: dict[str, float] = {}
        self._current: str | None = None

    def begin(self, name: str) -> None:
        """End the current phase, and begin or resume this one."""
        now = self._clock()
        if self._current is not None:
            self._completed[self._current] = self._completed.get(self._current, 0.0) + now - self._began
        self._current, self._began = name, now

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of each phase so far, in the order in which the phases first began."""
        seconds = dict(self._completed)
        if self._current is not None:
            seconds[self._current] = seconds.get(self._current, 0.0) + self._clock() - self._began
        return seconds
