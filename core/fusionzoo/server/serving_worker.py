"""A process of gunicorn in which no client holds a thread for longer than the time limit of a request.

It accepts no more connections than it can open files for: gunicorn's process ends when it cannot accept one.
"""

from __future__ import annotations

import logging
import resource
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import _DEFER, ThreadWorker

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.access_log import log_request
from fusionzoo.server.chunk_limit import limit_chunks
from fusionzoo.server.client_deadline import DeadlineSocket
from fusionzoo.server.error_response import render_response
from fusionzoo.server.server_limits import MAX_CONNECTIONS, SPARE_SECONDS, SPARE_THREADS, THREADS, ServerLimits
from fusionzoo.server.server_metrics import ServerMetrics
from fusionzoo.server.thread_pool import BusyThreads, RequestThreads

log = logging.getLogger(__name__)
FIRST_BYTE_SECONDS = 0.02  # that a thread waits before gunicorn's main loop, which needs no thread, waits instead of it
OPEN_FILES = Path("/dev/fd")
RESERVED_FILES = 64  # for what a process opens after it was forked: pipes, metrics, modules
STATUS_BY_ERROR: Mapping[str, int] = {  # by name, because earlier versions of gunicorn have fewer errors
    "LimitRequestLine": 414,
    "ExpectationFailed": 417,
    "LimitRequestHeaders": 431,
    "UnsupportedTransferCoding": 501,
}
"""The status of requests that gunicorn cannot parse, if it is not 400."""


class ServingWorker(ThreadWorker):  # type: ignore[misc]
    """gunicorn's threaded worker, on sockets with a deadline for each request, with errors as JSON."""

    limits = ServerLimits()
    metrics: ServerMetrics | None = None
    sockets: list[Any]

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._busy = BusyThreads()

    def get_thread_pool(self) -> RequestThreads:
        """Return the threads that answer requests."""
        return RequestThreads(max_workers=self.cfg.threads)

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin or stop to accept connections. A process that SIGTERM ends accepts none again."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            self._refuse_connections()

    def _refuse_connections(self) -> None:
        """Accept the connections that are made, and close the listeners, so that clients turn to another server.

        gunicorn would keep them open while it answers requests, and the system would make connections that nobody
        answers.
        """
        for listener in self.sockets:
            accepted = -1
            while accepted != self.nr_conns < self.worker_connections:
                accepted = self.nr_conns
                self.accept(listener)
            listener.close()
        self.sockets = []

    def handle(self, connection: Any) -> Any:
        """Answer one request of a connection.

        Clients that send slowly can have all threads but the last ones. There, a client has hardly any time, so that
        /ping, which arrives at once, is answered.
        """
        if not isinstance(connection.sock, DeadlineSocket):
            connection.sock = DeadlineSocket.adopt(connection.sock, self.limits.request_seconds)
        if not connection.wait_for_data(FIRST_BYTE_SECONDS):  # gunicorn would let a thread wait for 5 s
            return _DEFER
        with self._busy.add() as busy:
            is_hurried = busy > THREADS - SPARE_THREADS
            seconds = min(SPARE_SECONDS, self.limits.request_seconds) if is_hurried else self.limits.request_seconds
            connection.sock.restart(seconds, is_hurried=is_hurried)
            is_kept_open = super().handle(connection)
            if not is_kept_open:
                connection.sock.linger()
        return is_kept_open

    def handle_request(self, request: Any, connection: Any) -> Any:
        """Let the application answer a request.

        Raises:
            RequestError: the request is not valid HTTP, but gunicorn accepts it.
        """
        check_headers(request.version, request.headers)
        connection.sock.request = request
        if connection.sock.is_hurried:
            request.force_close()
        limit_chunks(request.body, self.limits.max_chunks)
        return super().handle_request(request, connection)

    def handle_error(self, request: Any, client: Any, address: Any, error: BaseException) -> None:
        """Answer a request that is not valid HTTP. The response and the log have nothing of what the client sent."""
        if isinstance(error, ParseException):
            reported = RequestError.malformed(STATUS_BY_ERROR.get(type(error).__name__, 400))
        elif isinstance(error, RequestError):
            reported = error
        else:
            log.error("A request failed.", exc_info=error)
            reported = RequestError.internal()
        request_id = uuid.uuid4().hex
        log_request(
            logging.INFO,
            request_id=request_id,
            status=reported.status,
            client=address[0] if address else None,
            error=reported.code,
            reason=type(error).__name__,
        )
        if self.metrics is not None:
            self.metrics.count_request("other", reported.status, 0.0)
        try:
            client.sendall(render_response(reported, request_id))
        except OSError as cause:
            log.info("A client closed its connection before it had the response (%s).", type(cause).__name__)


def check_headers(version: tuple[int, int], headers: Sequence[tuple[str, str]]) -> None:
    """Raise RequestError if HTTP/1.1 has no Host (RFC 9112, section 3.2), or a body is compressed for the transfer."""
    if version >= (1, 1) and all(name != "HOST" for name, _ in headers):
        raise RequestError.no_host()
    codings = ",".join(value for name, value in headers if name == "TRANSFER-ENCODING").lower().split(",")
    if not {coding.strip() for coding in codings} <= {"", "chunked", "identity"}:
        raise RequestError.malformed(501)


def choose_connections() -> int:
    """Raise the limit of open files if necessary and allowed; return how many connections each process may have.

    A thread that waits for a request has a file for it, next to that of the connection. The limit holds for the
    processes that are forked afterwards, too.
    """
    others = _count_open_files() + RESERVED_FILES
    limit = _raise_limit(MAX_CONNECTIONS + THREADS + others)
    available = limit - others
    connections = min(MAX_CONNECTIONS, max(available - THREADS, available // 2, 1))
    if connections < MAX_CONNECTIONS:
        log.warning(
            "Each process accepts %d connections instead of %d, because it may only open %d files; others wait. Raise "
            "the hard limit, such as with LimitNOFILE of systemd or ulimit -n.",
            connections,
            MAX_CONNECTIONS,
            limit,
        )
    return connections


def _raise_limit(needed: int) -> int:
    """Raise the limit of this process to `needed`, or as far as it may; return the limit, at most `needed`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return needed
    limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    except (OSError, ValueError):  # a system may allow less than the hard limit
        return soft
    return limit


def _count_open_files() -> int:
    try:
        return len(list(OPEN_FILES.iterdir()))
    except OSError:
        return RESERVED_FILES
