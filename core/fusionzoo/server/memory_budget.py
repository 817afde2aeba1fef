"""A bound on the bytes of requests and responses that a process holds at the same time."""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.server_limits import RETRY_SECONDS

UNCOUNTED_BYTES = 65_536  # of a request or a response: small ones never wait for large ones


class MemoryBudget:
    """Reserves memory for bodies before they are read. Requests that find too little wait, in their order.

    Each reservation is for a whole body, so that the requests that have one can always finish.

    Args:
        max_bytes: bytes that are held at the same time; a body that is larger counts as if it had so many.
        wait_seconds: how long a request waits.
        max_waiting: the number of requests that wait at the same time.
    """

    def __init__(self, max_bytes: int, wait_seconds: float, max_waiting: int) -> None:
        self._max_bytes, self._wait_seconds, self._max_waiting = max_bytes, wait_seconds, max_waiting
        self._held = 0
        self._waiting: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def held_bytes(self) -> int:
        """The bytes that are reserved now."""
        return self._held

    def reserve(self, size: int) -> HeldBytes:
        """Return a reservation of so many bytes, when there is room for them.

        Raises:
            RequestError: others held the memory for too long, or too many wait for it.
        """
        held = HeldBytes(self)
        if counted := self._count(size):
            self._wait_for(counted)
            held.counted = counted
        return held

    def hold(self, size: int) -> HeldBytes:
        """Return a reservation of so many bytes at once. They exist already, so that the limit may be exceeded."""
        held = HeldBytes(self)
        held.resize(size)
        return held

    def resize(self, held: HeldBytes, size: int) -> None:
        """Change a reservation without waiting."""
        with self._changed:
            counted = self._count(size)
            self._held += counted - held.counted
            held.counted = counted
            self._changed.notify_all()

    def _count(self, size: int) -> int:
        return min(size, self._max_bytes) if size > UNCOUNTED_BYTES else 0

    def _wait_for(self, size: int) -> None:
        ticket = object()

        def is_next() -> bool:
            return self._waiting[0] is ticket and self._held + size <= self._max_bytes

        with self._changed:
            if len(self._waiting) >= self._max_waiting:
                raise RequestError.no_memory_left(RETRY_SECONDS)
            self._waiting.append(ticket)
            try:
                if not self._changed.wait_for(is_next, self._wait_seconds):
                    raise RequestError.no_memory_left(RETRY_SECONDS)
                self._held += size
            finally:
                self._waiting.remove(ticket)
                self._changed.notify_all()  # the next one may fit


class HeldBytes:
    """A reservation, which is released at the end of the block or by `release`."""

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget, self.counted = budget, 0

    def resize(self, size: int) -> None:
        """Reserve for another number of bytes, at once."""
        self._budget.resize(self, size)

    def release(self) -> None:
        """End the reservation; again has no effect."""
        self._budget.resize(self, 0)

    def __enter__(self) -> HeldBytes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
