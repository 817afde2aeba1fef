"""SIGTERM, which a container gets that is to stop, some time before it is killed; and Ctrl-C on a terminal."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from fusionzoo import errors

log = logging.getLogger(__name__)


class _StopSignal(BaseException):
    """Raised wherever the signal finds the main thread: no library's `except Exception` may take it for its own."""


class Termination:
    """Ends the job at once where nothing would be lost; in a training, `asked` tells it to save its state first.

    A second Ctrl-C does not wait, unless the process is one of `several`: torchrun passes the signal on, too.
    """

    def __init__(self, several: bool = False) -> None:
        self.asked = False
        self._several, self._waits, self._ends = several, False, False

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Listen to the signals; as before afterwards. Only a process's main thread can.

        Ctrl-C is left alone where it means something else than an interrupt: a job in the background ignores it.

        Raises:
            errors.TerminatedError: the signal came, and nothing had to be saved.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        self._listen()
        try:
            with self.told():
                yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: it was not Python's

    @contextmanager
    def told(self) -> Iterator[None]:
        """Where the signal ends what runs in the block, it leaves as an error for the user."""
        try:
            yield
        except _StopSignal:
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
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._ends:
            return
        again, self.asked = self.asked, True
        impatient = again and number == signal.SIGINT and not self._several
        if impatient or not self._waits:
            raise _StopSignal
        if not again:
            more = "; once more, and it stops at once" if number == signal.SIGINT and not self._several else ""
            log.warning("%s: the job saves its state at the end of this step, and stops%s", _name(number), more)


def _name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
