"""Standard output that a command cannot write."""

from __future__ import annotations

from fusionzoo.errors.base import ZooError


class StandardOutputError(ZooError):
    """Standard output leads to a place that cannot be written, such as a file on a full disk."""

    def __init__(self, cause: OSError) -> None:
        message = f"Standard output cannot be written ({cause.strerror or cause})."
        super().__init__(message, "free space where it leads, or let it lead to another place.", "FZ-O045")
