"""Answers requests with status 503 while the model is loaded, before there are processes that serve."""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait

from fusionzoo.errors.request_errors import RequestError, ServerAddressError
from fusionzoo.server.access_log import log_request
from fusionzoo.server.error_response import render_response
from fusionzoo.server.server_limits import RETRY_SECONDS

log = logging.getLogger(__name__)
BACKLOG = 2048  # connections that wait to be accepted
THREADS = 16  # connections that are answered at the same time
HEAD_SECONDS = 5.0  # that a client may take to send its headers
CLOSE_SECONDS = 1.0  # that a client may take to read the response and to end its request
MAX_HEAD_BYTES = 65_536


def open_listener(host: str, port: int) -> socket.socket:
    """Return a socket that listens at the address; port 0 is any free port, and host `::` IPv4 too.

    Raises:
        ServerAddressError: the address cannot be used.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        is_dual = family == socket.AF_INET6 and address[0] == "::" and socket.has_dualstack_ipv6()
        return socket.create_server(address, family=family, backlog=BACKLOG, dualstack_ipv6=is_dual)
    except OSError as cause:
        raise ServerAddressError.of(host, port, cause) from cause


@contextmanager
def answer_while_loading(listener: socket.socket) -> Iterator[None]:
    """Answer every request at the socket with status 503 until the block ends.

    The requests are answered by threads, which have ended when the block has, so that the process can fork. A thread
    has one connection at a time, and the others wait at the socket: many of them cost no files and do not delay the
    end. Afterwards the socket still listens, and new connections wait until somebody accepts them.
    """
    waiting, stopping = socket.socketpair()
    listener.setblocking(False)
    threads: list[threading.Thread] = []
    try:
        _start_threads(threads, listener, waiting)
        yield
    finally:
        stopping.close()  # which makes `waiting` readable for all threads
        for thread in threads:
            thread.join()
        waiting.close()


def _start_threads(threads: list[threading.Thread], listener: socket.socket, waiting: socket.socket) -> None:
    """Start the threads, or as many as the system allows. Without any, requests wait until the model is loaded."""
    try:
        for number in range(THREADS):
            thread = threading.Thread(target=_serve, args=(listener, waiting), name=f"loading-{number}")
            thread.start()
            threads.append(thread)
    except RuntimeError as cause:
        log.warning("Requests have %d threads instead of %d while the model is loaded (%s).", number, THREADS, cause)


def _serve(listener: socket.socket, stopped: socket.socket) -> None:
    while stopped not in wait([listener, stopped]):
        try:
            connection, address = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):  # another thread has it, or the client has closed it again
            continue
        _answer(connection, address[0], stopped)


def _answer(connection: socket.socket, client: str, stopped: socket.socket) -> None:
    """Answer one request, also if its headers are not complete when the time is over or the model is loaded."""
    error, request_id = RequestError.loading(RETRY_SECONDS), uuid.uuid4().hex
    with connection, suppress(OSError):  # the client does not wait for the response
        connection.settimeout(CLOSE_SECONDS)
        head = _read_head(connection, stopped)
        connection.sendall(render_response(error, request_id, has_content=not head.startswith(b"HEAD ")))
        connection.shutdown(socket.SHUT_WR)
        deadline = time.monotonic() + CLOSE_SECONDS
        while time.monotonic() < deadline and connection.recv(MAX_HEAD_BYTES):
            pass  # a connection that is closed with unread bytes is reset, and the client may not see the response
    log_request(logging.INFO, request_id=request_id, status=error.status, client=client, error=error.code)


def _read_head(connection: socket.socket, stopped: socket.socket) -> bytes:
    """Return what arrives until the headers are complete, the time is over or the model is loaded."""
    head, deadline = b"", time.monotonic() + HEAD_SECONDS
    while b"\r\n\r\n" not in head and len(head) < MAX_HEAD_BYTES:
        ready = wait([connection, stopped], max(0.0, deadline - time.monotonic()))
        if connection not in ready or not (part := connection.recv(MAX_HEAD_BYTES)):
            break
        head += part
    return head
