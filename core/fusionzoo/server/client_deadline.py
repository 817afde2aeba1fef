"""Time limits for clients: a socket that gives up when the client sends or receives too slowly."""

from __future__ import annotations

import errno
import socket
import time
from contextlib import suppress
from typing import Any

LINGER_SECONDS = 1.0  # that a client may take to close a connection after the last response
READ_BLOCK = 65_536  # bytes


class SlowClientError(ConnectionResetError):
    """The client did not send its request, or did not read the response, in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(errno.ECONNRESET, f"the client was slower than {seconds:g} seconds")


class DeadlineSocket(socket.socket):
    """A connection on which a whole request must arrive, and a whole response must leave, in a number of seconds.

    A limit on each read would not be enough: a client that sends one byte per second would hold its thread forever.

    Attributes:
        seconds: how long a request, or a response, may take.
        is_hurried: whether one of the last threads answers the request: then it must not wait for others.
        request: gunicorn's object of the request that is answered now.
    """

    seconds: float
    is_hurried: bool
    request: Any
    _deadline: float

    @classmethod
    def adopt(cls, connection: socket.socket, seconds: float) -> DeadlineSocket:
        """Return the connection as a socket with a deadline; the given object can no longer be used."""
        family, kind, protocol = connection.family, connection.type, connection.proto
        adopted = cls(family, kind, protocol, fileno=connection.detach())
        adopted.request = None
        adopted.restart(seconds)
        return adopted

    def restart(self, seconds: float, *, is_hurried: bool = False) -> None:
        """Begin the time of the next request."""
        self.seconds, self.is_hurried = seconds, is_hurried
        self._deadline = time.monotonic() + seconds

    def linger(self) -> None:
        """Wait until the client has closed the connection, after the last response, but not for long.

        A connection that is closed while it has unread bytes is reset, and the client may not see the response.
        gunicorn waits for that in its main loop, where all connections would wait: after this call, it does not.
        """
        self._deadline = min(self._deadline, time.monotonic() + LINGER_SECONDS)
        with suppress(OSError):
            self.shutdown(socket.SHUT_WR)
            while self.recv(READ_BLOCK):
                pass
        self._deadline = 0.0

    def recv(self, *arguments: Any) -> bytes:
        """Return what has arrived.

        Raises:
            SlowClientError: the deadline has passed.
        """
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise SlowClientError(self.seconds)
        self.settimeout(remaining)
        try:
            return super().recv(*arguments)
        except TimeoutError as cause:
            raise SlowClientError(self.seconds) from cause

    def sendall(self, *arguments: Any) -> None:
        """Send everything.

        Raises:
            SlowClientError: the client does not read it in time.
        """
        self.settimeout(self.seconds)
        try:
            super().sendall(*arguments)
        except TimeoutError as cause:
            raise SlowClientError(self.seconds) from cause
