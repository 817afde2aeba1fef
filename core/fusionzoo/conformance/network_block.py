"""Notice, and refuse, whatever goes to the network."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

DEEDS = {
    "socket.connect": "opens a connection",
    "socket.getaddrinfo": "looks up a host",
    "socket.gethostbyname": "looks up a host",
}


def forbid_network(note: Callable[[str], None]) -> None:
    """From now on, and until this process ends, refuse every connection, after a note of what was tried."""

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in DEEDS:
            return
        address = arguments[1] if event == "socket.connect" else arguments[0]
        if event == "socket.connect" and isinstance(address, str | bytes):
            return  # a socket of this machine, named by a path
        note(f"{DEEDS[event]} ({address!r})")
        raise PermissionError(f"there is no network here: {event} {address!r}")

    sys.addaudithook(audit)
