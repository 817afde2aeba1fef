"""A socket that gives up on a client that is too slow."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from fusionzoo.server import client_deadline
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
    server.restart(SECONDS)
    assert server.recv(4) == b"next"


@pytest.mark.parametrize("sends", [b"", b"rest of a body"])
def test_the_end_of_a_connection_waits_for_the_client_only_once(
    pair: tuple[DeadlineSocket, socket.socket], sends: bytes
) -> None:
    server, client = pair
    client.sendall(sends)
    server.restart(60)
    threading.Timer(SECONDS, client.shutdown, [socket.SHUT_WR]).start()
    server.linger()
    assert client.recv(1) == b"", "it sees the end of the response"
    with pytest.raises(SlowClientError):
        server.recv(1)


def test_a_client_that_does_not_close_its_connection_is_not_waited_for(
    pair: tuple[DeadlineSocket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_deadline, "LINGER_SECONDS", SECONDS)
    server, client = pair
    server.restart(1e6)
    server.linger()
    assert client.recv(1) == b""
    with pytest.raises(SlowClientError):
        server.recv(1)


def test_a_client_that_does_not_read_the_response_is_too_slow(pair: tuple[DeadlineSocket, socket.socket]) -> None:
    give_up = threading.Timer(30, pair[1].close)  # so that the test fails instead of waiting forever
    give_up.start()
    with pytest.raises(SlowClientError):
        pair[0].sendall(b"x" * 20_000_000)
    give_up.cancel()
