"""A socket that gives up on a client that is too slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from fusionzoo.server.client_deadline import DeadlineSocket, SlowClientError

SECONDS = 0.2
SLOW_BYTES = 20  # that a slow client sends in this time


@pytest.fixture
def pair() -> Iterator[tuple[DeadlineSocket, socket.socket]]:
    """The connection of a server with a deadline, and that of its client."""
    server, client = socket.socketpair()
    adopted = DeadlineSocket.adopt(server, SECONDS)
    yield adopted, client
    adopted.close()
    client.close()


def test_what_arrives_in_time_is_received(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    server, client = pair
    client.sendall(b"rows")
    assert server.recv(100) == b"rows"
    client.close()
    assert server.recv(100) == b""


def test_a_client_that_sends_byte_after_byte_is_too_slow(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    server, client = pair
    stop = threading.Event()

    def drip() -> None:
        while not stop.wait(SECONDS / SLOW_BYTES):
            client.sendall(b"x")

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        with pytest.raises(SlowClientError):
            receive_until_closed(server)
    finally:
        stop.set()
        thread.join()


def receive_until_closed(server: DeadlineSocket) -> None:
    for _ in range(10 * SLOW_BYTES):
        assert server.recv(1)


def test_each_request_has_its_own_time(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    server, client = pair
    with pytest.raises(SlowClientError):
        server.recv(1)
    client.sendall(b"next")
    with pytest.raises(SlowClientError):
        server.recv(4)
    server.restart()
    assert server.recv(4) == b"next"


def test_a_client_that_does_not_read_the_response_is_too_slow(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    give_up = threading.Timer(30, pair[1].close)  # so that the test fails instead of waiting forever
    give_up.start()
    with pytest.raises(SlowClientError):
        pair[0].sendall(b"x" * 20_000_000)
    give_up.cancel()
