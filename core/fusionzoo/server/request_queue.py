"""A queue of requests: a bounded number is answered at the same time, and small ones that wait, together."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.outcome import capture
from fusionzoo.server.server_limits import RETRY_SECONDS

Request = TypeVar("Request")
Answer = TypeVar("Answer")
AnswerAll = Callable[[Sequence[Request]], Sequence[Answer | Exception]]
"""Returns the answer to each request, in their order, or the exception that its client must see."""

GROUP_SECONDS = 0.02  # of work for requests that are answered together: none waits for longer because of the others
MAX_GROUP = 32  # requests
NEW_WEIGHT = 0.2  # of a measurement in the moving average
MIN_SECONDS = 1e-6


@dataclass(eq=False)
class _Entry(Generic[Request, Answer]):
    """A request in the queue. Its thread waits for `wake`: then it has its answer, or it must answer `group`."""

    request: Request
    is_small: bool
    wake: threading.Event = field(default_factory=threading.Event)
    group: list[_Entry[Request, Answer]] = field(default_factory=list)
    answer: Answer | Exception | None = None


class RequestQueue(Generic[Request, Answer]):
    """Answers requests of several threads, in the order in which they arrived.

    A request that finds a free place is answered at once, alone. The others wait, unless too many do. Whenever a place
    becomes free, the thread of the first one answers it together with further small ones, as many as take about
    `GROUP_SECONDS`. So nobody waits for a group to fill, and requests are never grouped if each of them takes long.

    While large requests have all places, small ones have one more, so that they do not wait for large ones to end.

    Args:
        answer_all: answers a group of requests. It must not raise an exception because of one of them.
        places: the number of groups that are answered at the same time, without that of the additional place.
        queue_seconds: how long a request waits for a place.
        max_waiting: the number of requests that wait at the same time.
    """

    def __init__(
        self, answer_all: AnswerAll[Request, Answer], places: int, queue_seconds: float, max_waiting: int
    ) -> None:
        self._answer_all, self._places, self._queue_seconds = answer_all, places, queue_seconds
        self._max_waiting = max_waiting
        self._running = {True: 0, False: 0}  # groups that are answered now, of small requests and of large ones
        self._waiting: deque[_Entry[Request, Answer]] = deque()
        self._lock = threading.Lock()
        self._seconds = GROUP_SECONDS  # of a small request, on average

    def answer(self, request: Request, is_small: bool) -> Answer:
        """Return the answer to a request.

        Args:
            request: the request.
            is_small: whether it may be answered together with others.

        Raises:
            RequestError: others were answered for too long, or too many wait.
            Exception: what `answer_all` returned for this request, or raised.
        """
        entry = _Entry[Request, Answer](request, is_small)
        with self._lock:
            self._waiting.append(entry)
            self._start_groups()
            if len(self._waiting) > self._max_waiting and self._waiting[-1] is entry:
                self._waiting.pop()
                raise RequestError.overloaded(RETRY_SECONDS)
        if not entry.wake.wait(self._queue_seconds):
            self._leave(entry)
            entry.wake.wait()
        if entry.group:
            self._answer_group(entry.group)
        if isinstance(entry.answer, Exception):
            raise entry.answer
        if entry.answer is None:
            raise RequestError.internal()
        return entry.answer

    def _start_groups(self) -> None:
        """Wake the threads that must answer a group now. The caller holds the lock."""
        while (first := self._find_next()) is not None:
            self._waiting.remove(first)
            group = [first]
            if first.is_small:
                others = [entry for entry in self._waiting if entry.is_small][: self._group_size() - 1]
                for entry in others:
                    self._waiting.remove(entry)
                group += others
            self._running[first.is_small] += 1
            first.group = group
            first.wake.set()

    def _find_next(self) -> _Entry[Request, Answer] | None:
        """Return the first request that may be answered now; None if there is none. The caller holds the lock."""
        if sum(self._running.values()) < self._places:
            return self._waiting[0] if self._waiting else None
        has_large_only = not self._running[True]
        return next((entry for entry in self._waiting if entry.is_small), None) if has_large_only else None

    def _group_size(self) -> int:
        return min(MAX_GROUP, max(1, int(GROUP_SECONDS / max(self._seconds, MIN_SECONDS))))

    def _leave(self, entry: _Entry[Request, Answer]) -> None:
        """Take a request out of the queue, unless it is being answered already.

        Raises:
            RequestError: it was still in the queue.
        """
        with self._lock:
            if entry in self._waiting:
                self._waiting.remove(entry)
                raise RequestError.overloaded(RETRY_SECONDS)

    def _answer_group(self, group: list[_Entry[Request, Answer]]) -> None:
        began = time.thread_time()
        try:
            outcome = capture(lambda: self._answer_all([entry.request for entry in group]))
            answers = [outcome] * len(group) if isinstance(outcome, Exception) else outcome
            for entry, answer in zip(group, answers, strict=True):
                entry.answer = answer
        finally:  # whatever happened: otherwise the place is lost, and the others of the group wait forever
            seconds = (time.thread_time() - began) / len(group)
            with self._lock:
                if group[0].is_small:
                    self._seconds += NEW_WEIGHT * (seconds - self._seconds)
                self._running[group[0].is_small] -= 1
                self._start_groups()
            for entry in group[1:]:
                entry.wake.set()
