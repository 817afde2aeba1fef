"""Handle SIGTERM, which SageMaker sends some time before it kills a container, and Ctrl-C on a terminal.

SIGHUP, which a closed terminal sends, and SIGQUIT are handled like SIGTERM.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fusionzoo import errors
from fusionzoo.sagemaker.reported_run import STOP_SIGNALS

log = logging.getLogger(__name__)

MIN_ALARM_SECONDS = 0.001  # an alarm after 0 s is none
REPEAT_SECONDS = 5.0  # a finalizer or a callback of C code may swallow the exception of an alarm


class _StopSignal(BaseException):
    """Raised in the main thread by the signal handler. Not an Exception, so that no library catches it."""


class Termination:
    """Stops the job immediately if nothing would be lost. During training it only sets `stop_requested`.

    A second Ctrl-C stops the training immediately, except in one of many processes: torchrun forwards the signal.

    Attributes:
        stop_requested: whether one of the signals has arrived.
        leaves_time: whether it was not Ctrl-C, which comes from a user who waits. SIGTERM comes some time before the
            process is killed.
    """

    def __init__(self, is_one_of_many: bool = False) -> None:
        self.stop_requested = self.leaves_time = False
        self._is_one_of_many, self._is_deferred, self._is_ignored = is_one_of_many, False, False
        self._requested_at, self._seconds_to_finish = 0.0, 0.0  # no time to finish: stop immediately
        self._is_allowed: Callable[[], bool] = lambda: True

    @contextmanager
    def handle_signals(self) -> Iterator[None]:
        """In the block, handle SIGTERM, SIGHUP, SIGQUIT and Ctrl-C. Restore the previous handlers afterwards.

        Only the main thread of a process can handle signals. Ctrl-C is left alone if it does not raise
        KeyboardInterrupt: a job in the background ignores it. SIGHUP and SIGQUIT stay ignored, as with nohup.

        Raises:
            errors.TerminatedError: the signal arrived, and nothing had to be saved.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.getsignal(number) for number in (*STOP_SIGNALS, signal.SIGINT)}
        self._install_handlers()
        try:
            with self.translate_stop_signal():
                yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler or signal.SIG_DFL)  # None: not installed by Python

    @contextmanager
    def translate_stop_signal(self) -> Iterator[None]:
        """In the block, turn a stop by the signal into an error for the user.

        Raises:
            errors.TerminatedError: the signal arrived, and nothing had to be saved.
        """
        try:
            yield
        except _StopSignal:
            raise errors.TerminatedError(None) from None

    def check(self) -> None:
        """Check that the signal has not arrived: a finalizer may have swallowed the exception that it raised.

        Raises:
            errors.TerminatedError: it has arrived.
        """
        if self.stop_requested:
            raise errors.TerminatedError(None)

    @contextmanager
    def defer_stop(self, finishes: bool = False) -> Iterator[None]:
        """In the block, the signal only sets `stop_requested`; the code in the block reads it and stops itself.

        Args:
            finishes: whether the job continues with `finish_within` if SIGTERM arrives too late for the block. Then
                the signal does not stop the job between the two, either.

        Raises:
            errors.TerminatedError: the signal arrived before the block, or after the code last read the flag.
        """
        self._is_deferred = True
        try:
            self.check()
            yield
        except BaseException:
            self._is_deferred = False
            raise
        self._is_deferred = finishes
        if not (finishes and self.leaves_time):
            self.check()

    @contextmanager
    def finish_within(self, seconds: float, is_allowed: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """In the block, SIGTERM gives the job this many seconds to finish, counted from the arrival of the signal.

        It may have arrived before the block. A second signal stops the job immediately, except in one of many
        processes. Ctrl-C always does. With 0 seconds, or outside of the main thread, nothing is different in the block.

        Args:
            seconds: the time.
            is_allowed: called when the signal has arrived; if it returns False, the job stops immediately.

        Raises:
            errors.TerminatedError: the time has passed.
        """
        if not seconds or threading.current_thread() is not threading.main_thread():
            yield
            return
        self._seconds_to_finish, self._is_allowed = seconds, is_allowed
        self._is_deferred = False
        previous = signal.signal(signal.SIGALRM, self._handle_alarm)
        try:
            if self.stop_requested and not (self.leaves_time and is_allowed()):
                raise _StopSignal
            if self.stop_requested:
                self._set_alarm()
            yield
        finally:
            self._seconds_to_finish = 0.0
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, previous or signal.SIG_DFL)

    def _set_alarm(self) -> None:
        left = self._requested_at + self._seconds_to_finish - time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, max(left, MIN_ALARM_SECONDS), REPEAT_SECONDS)

    def _handle_alarm(self, number: int, frame: FrameType | None) -> None:
        if not self._is_ignored:
            log.warning("The %.0f s after the signal have passed: stopping now.", self._seconds_to_finish)
            raise _StopSignal

    def ignore_signals(self) -> None:
        """From now on, ignore the signals: the job has written everything, or is about to report why it ends."""
        self._is_ignored = True

    def reinstall_handlers(self) -> None:
        """Replace a handler that a library has installed in the meantime."""
        if threading.current_thread() is threading.main_thread():
            self._install_handlers()

    def _install_handlers(self) -> None:
        for number in STOP_SIGNALS:
            if number == signal.SIGTERM or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._is_ignored or (number == signal.SIGHUP and self.stop_requested):  # a shell sends SIGHUP once more
            return
        is_repeated, self.stop_requested = self.stop_requested, True
        if not is_repeated:
            self._requested_at, self.leaves_time = time.monotonic(), number != signal.SIGINT
        if self._seconds_to_finish and self._may_finish(number, is_repeated):
            return
        can_force = number == signal.SIGINT and not self._is_one_of_many
        if (is_repeated and can_force) or not self._is_deferred:
            raise _StopSignal
        if not is_repeated:
            hint = "; press Ctrl-C again to stop immediately" if can_force else ""
            log.warning("%s: saving the training state and stopping after this step%s", _signal_name(number), hint)

    def _may_finish(self, number: int, is_repeated: bool) -> bool:
        """Return whether the job may finish its work after a signal; after the first one, set the alarm."""
        if is_repeated:
            return self._is_one_of_many and self.leaves_time
        if self.leaves_time and not self._is_allowed():
            return False
        if self.leaves_time:
            log.warning("%s: finishing the job within %.0f s", _signal_name(number), self._seconds_to_finish)
            self._set_alarm()
        return self.leaves_time


def _signal_name(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
