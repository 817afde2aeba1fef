"""What a server allows its clients."""

from __future__ import annotations

from dataclasses import dataclass

THREADS = 256  # of each process: clients that send or wait occupy them, and only `ServerLimits.concurrency` score
SPARE_THREADS = 32  # of them; they answer /ping and /metrics, and refuse requests
SPARE_SECONDS = 0.2  # that a client may take to send a request which one of them answers
MAX_CONNECTIONS = 1000  # of each process, with and without a request; others wait until one is closed
MAX_CONCURRENCY = THREADS - SPARE_THREADS
MAX_COLUMNS = 100_000  # of delimited rows
MAX_GZIP_MEMBERS = 10_000
MEAN_LINE_BYTES = 16  # of the lines of a body as large as allowed, if they are as short as possible
MEAN_CHUNK_BYTES = 256  # of its chunks, likewise
RETRY_SECONDS = 1  # after which a client that was refused may try again
MAX_WAITING_FOR_MEMORY = SPARE_THREADS // 2  # requests of one process; further ones are refused at once


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
        max_held_bytes: bytes of requests and responses that one process holds at the same time; small ones are not
            counted. See `memory_bytes`.
    """

    max_body_bytes: int = 25_000_000
    max_rows: int = 100_000
    max_text_length: int = 1_000_000
    concurrency: int = 2
    queue_seconds: float = 5.0
    request_seconds: float = 30.0
    max_held_bytes: int = 200_000_000

    @property
    def memory_bytes(self) -> int:
        """The bytes of requests and responses that one process holds, enough for one request."""
        return max(self.max_held_bytes, self.max_body_bytes)

    @property
    def max_lines(self) -> int:
        """The number of lines of a body, blank ones and those in texts included. Python reads them one by one."""
        return self.max_rows + self.max_body_bytes // MEAN_LINE_BYTES

    @property
    def max_chunks(self) -> int:
        """The number of chunks of a body. Each of them may be one line."""
        return self.max_rows + self.max_body_bytes // MEAN_CHUNK_BYTES

    @property
    def max_waiting(self) -> int:
        """The number of requests that wait in one process while others are scored."""
        return THREADS - SPARE_THREADS - self.concurrency
