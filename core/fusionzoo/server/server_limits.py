"""What a server allows its clients."""

from __future__ import annotations

from dataclasses import dataclass

THREADS = 256  # of each process: clients that send or wait occupy them, and only `ServerLimits.concurrency` score
SPARE_THREADS = 32  # of them; they answer /ping and /metrics, and refuse requests
MAX_CONNECTIONS = 1000  # of each process, with and without a request; others wait until one is closed
MAX_CONCURRENCY = THREADS - SPARE_THREADS


@dataclass(frozen=True)
class ServerLimits:
    """The limits of a server. Sizes are those after decompression.

    Attributes:
        max_body_bytes: bytes of the body of a request.
        max_rows: rows of a request.
        max_text_length: characters of one value.
        concurrency: requests that one process scores at the same time, at most `MAX_CONCURRENCY`.
        queue_seconds: how long a request waits for others to be scored, before it is refused.
        request_seconds: how long a client may take to send a request, and to receive the response.
    """

    max_body_bytes: int = 25_000_000
    max_rows: int = 100_000
    max_text_length: int = 1_000_000
    concurrency: int = 2
    queue_seconds: float = 5.0
    request_seconds: float = 30.0

    @property
    def max_waiting(self) -> int:
        """The number of requests that wait in one process while others are scored."""
        return THREADS - SPARE_THREADS - self.concurrency
