"""Time limits for clients: a socket that gives up when the client sends or receives too slowly."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any


class SlowClientError(ConnectionResetError):
    """The client did not send its request, or did not read the response, in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(errno.ECONNRESET, f"the client was slower than {seconds:g} seconds")


class DeadlineSocket(socket.socket):
    """A connection on which a whole request must arrive, and a whole response must leave, in a number of seconds.

    A limit on each read would not be enough: a client that sends one byte per second would hold its thread forever.
    """

    seconds: float
    _deadline: float

    @classmethod
    def adopt(cls, connection: socket.socket, seconds: float) -> DeadlineSocket:
        """Return the connection as a socket with a deadline; the given object can no longer be used."""
        family, kind, protocol = connection.family, connection.type, connection.proto
        adopted = cls(family, kind, protocol, fileno=connection.detach())
        adopted.seconds = seconds
        adopted.restart()
        return adopted

    def restart(self) -> None:
        """Begin the time of the next request."""
        self._deadline = time.monotonic() + self.seconds

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
