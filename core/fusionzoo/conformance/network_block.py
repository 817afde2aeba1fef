"""Block network access in this process, and record each attempt."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

NETWORK_EVENTS = {
    "socket.connect": "opens a network connection",
    "socket.getaddrinfo": "looks up a host name",
    "socket.gethostbyname": "looks up a host name",
}


def forbid_network(record: Callable[[str], None]) -> None:
    """Raise PermissionError on every connection attempt until this process ends, after passing it to `record`.

    An audit hook cannot be removed, so call this only in a process that was started for a check.
    """

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in NETWORK_EVENTS:
            return
        address = arguments[1] if event == "socket.connect" else arguments[0]
        if event == "socket.connect" and isinstance(address, str | bytes):
            return  # a Unix socket of this machine
        record(f"{NETWORK_EVENTS[event]} ({address!r})")
        raise PermissionError(f"network access is blocked during this check: {event} {address!r}")

    sys.addaudithook(audit)
