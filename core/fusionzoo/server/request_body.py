"""The body of the current request: received completely, in memory that is reserved for it, or discarded."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from flask import request
from werkzeug.exceptions import RequestEntityTooLarge

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.client_deadline import DeadlineSocket, SlowClientError
from fusionzoo.server.memory_budget import UNCOUNTED_BYTES, MemoryBudget
from fusionzoo.server.server_limits import RETRY_SECONDS, ServerLimits

MAX_DISCARDED_BYTES = 100_000_000  # of a body that is refused; SageMaker sends no larger one
DISCARDED_BLOCK = 65_536  # bytes
READ_BLOCK = 1_048_576
log = logging.getLogger(__name__)


@contextmanager
def receive_body(memory: MemoryBudget, limits: ServerLimits) -> Iterator[bytes]:
    """Yield the complete body. Memory for it is reserved before it is read, and until the end of the block.

    A body without a length, in chunks, is read until it is no small one; then the largest size is reserved for it.

    Raises:
        RequestError: the body is incomplete, too large or too slow, or there is no thread or no memory for it.
    """
    if (connection := _find_connection()) is not None and connection.is_hurried:
        raise RequestError.no_thread_left(RETRY_SECONDS)
    expected, buffer = request.content_length, io.BytesIO()
    if (expected or 0) > limits.max_body_bytes:
        raise RequestError.body_too_large(limits.max_body_bytes)
    if expected is None:
        _fill(buffer, UNCOUNTED_BYTES + 1, limits)
    size = expected or (limits.max_body_bytes if buffer.tell() > UNCOUNTED_BYTES else 0)
    with memory.reserve(size) as held:
        _fill(buffer, limits.max_body_bytes + 1, limits)
        if buffer.tell() > limits.max_body_bytes:
            raise RequestError.body_too_large(limits.max_body_bytes)
        if expected is not None and buffer.tell() != expected:  # neither gunicorn nor Werkzeug reports it
            raise RequestError.incomplete_body(EOFError(f"{buffer.tell():,} of {expected:,} bytes arrived"))
        held.resize(buffer.tell())
        yield buffer.getvalue()


def discard_body() -> None:
    """Read the rest of the body: a client that is interrupted while it sends may not see the response.

    If that is not possible, the response says that the connection is closed, because the next request cannot be found.
    """
    if not _read_rest():
        _announce_close()


def _read_rest() -> bool:
    """Read the rest of the body; return whether it has ended."""
    body, remaining = request.environ["wsgi.input"], MAX_DISCARDED_BYTES
    if "Expect" in request.headers or (request.content_length or 0) > MAX_DISCARDED_BYTES:
        return False
    try:
        while remaining > 0:
            if not (part := body.read(min(DISCARDED_BLOCK, remaining))):
                return True
            remaining -= len(part)
    except Exception as cause:  # gunicorn's errors about chunks have no common base class
        log.debug("The rest of a body could not be read.", exc_info=cause)
    return False


def _announce_close() -> None:
    if (connection := _find_connection()) is not None:
        connection.request.force_close()


def _find_connection() -> DeadlineSocket | None:
    """Return the connection of the current request; None without a server, as in a test."""
    connection = request.environ.get("gunicorn.socket")
    return connection if isinstance(connection, DeadlineSocket) else None


def _fill(buffer: io.BytesIO, size: int, limits: ServerLimits) -> None:
    """Read the body until the buffer has so many bytes, or the body ends. There is no second copy in memory."""
    with _convert_errors(limits):
        while (missing := size - buffer.tell()) > 0 and (part := request.stream.read(min(READ_BLOCK, missing))):
            buffer.write(part)


@contextmanager
def _convert_errors(limits: ServerLimits) -> Iterator[None]:
    """In the block, convert the exceptions of a body that cannot be read."""
    try:
        yield
    except RequestEntityTooLarge:
        raise
    except Exception as cause:  # gunicorn's errors about chunks have no common base class
        _announce_close()
        if isinstance(cause, RequestError):
            raise
        if isinstance(cause, SlowClientError) or isinstance(cause.__context__, SlowClientError):
            raise RequestError.slow_client(limits.request_seconds) from cause
        raise RequestError.incomplete_body(cause) from cause
