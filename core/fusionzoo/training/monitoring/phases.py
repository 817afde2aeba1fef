"""Where the time of a job goes: one phase follows another."""

from __future__ import annotations

import time
from collections.abc import Callable

PREPARE, BUILD, TRAIN, VALIDATE, EVALUATE = "prepare", "build", "train", "validate", "evaluate"


class Phases:
    """The seconds of each phase; each second belongs to the phase that was begun last.

    Args:
        clock: seconds from any point in time on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._since = clock, clock()
        self._done: dict[str, float] = {}
        self.current: str | None = None

    def begin(self, name: str) -> None:
        """End the phase that runs, if one does, and begin this one, or go on with it."""
        now = self._clock()
        if self.current is not None:
            self._done[self.current] = self._done.get(self.current, 0.0) + now - self._since
        self.current, self._since = name, now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each phase so far, in the order in which they began."""
        found = dict(self._done)
        if self.current is not None:
            found[self.current] = found.get(self.current, 0.0) + self._clock() - self._since
        return found
