"""SIGTERM: a container that is to stop gets it, and has a little time before it is killed."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fusionzoo import errors

log = logging.getLogger(__name__)


class _AskedToStop(BaseException):
    """Raised wherever the signal finds the main thread: no library's `except Exception` may take it for its own."""


class Termination:
    """Ends the job at once where nothing would be lost; in a training, `asked` tells it to save its state first."""

    def __init__(self) -> None:
        self.asked = False
        self._waits = self._ends = False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to the signal; as before afterwards. Only a process's main thread can.

        Raises:
            errors.TerminatedError: the signal came, and nothing had to be saved.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.getsignal(signal.SIGTERM)
        self._listen()
        try:
            with self.told():
                yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @contextmanager
    def told(self) -> Iterator[None]:
        """Where the signal ends what runs in the block, it leaves as an error for the user."""
        try:
            yield
        except _AskedToStop:
            raise errors.TerminatedError(None) from None

    def check(self) -> None:
        """Raises errors.TerminatedError where the signal has come: a finalizer may have lost what it raised."""
        if self.asked:
            raise errors.TerminatedError(None)

    @contextmanager
    def waits(self) -> Iterator[None]:
        """In the block, the signal only sets `asked`: what runs there looks at it, and ends itself.

        Raises:
            errors.TerminatedError: the signal came before the block, or too late in it to be looked at.
        """
        self._waits = True
        try:
            self.check()
            yield
        finally:
            self._waits = False
        self.check()

    def job_ends(self) -> None:
        """From here on the signal changes nothing: the job is about to say why it ends."""
        self._ends = True

    def listen_again(self) -> None:
        """Take the place of a handler that a library has put there meanwhile."""
        if threading.current_thread() is threading.main_thread():
            self._listen()

    def _listen(self) -> None:
        signal.signal(signal.SIGTERM, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ends:
            return
        first, self.asked = not self.asked, True
        if not self._waits:
            raise _AskedToStop
        if first:
            log.warning("SIGTERM: the job saves its state at the end of this step, and stops")
