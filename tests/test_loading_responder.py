"""While the model is loaded, every request has status 503, and the process has no thread left when it forks."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from fusionzoo.errors.request_errors import ServerAddressError
from fusionzoo.server.loading_responder import answer_while_loading, open_listener
from server_process import read_answer

GET = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n" + b"a" * 9_000_000


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with open_listener("127.0.0.1", 0) as opened:
        yield opened


def connect(listener: socket.socket, content: bytes) -> socket.socket:
    connection = socket.create_connection(listener.getsockname(), timeout=60)
    connection.sendall(content)
    return connection


@pytest.mark.parametrize("content", [GET, POST, b"GET /ping HTTP/1.0\r\n\r\n", b"no HTTP\r\n\r\n"])
def test_a_request_while_the_model_is_loaded_has_status_503_and_a_time_to_retry(
    listener: socket.socket, content: bytes
) -> None:
    with answer_while_loading(listener), connect(listener, content) as connection:
        head, _, body = read_answer(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b"\r\nRetry-After: 1" in head
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head
    assert json.loads(body)["error"]["code"] == "FZ-H018"


def test_the_response_to_head_has_no_content(listener: socket.socket) -> None:
    with answer_while_loading(listener), connect(listener, GET.replace(b"GET", b"HEAD")) as connection:
        assert read_answer(connection).endswith(b"\r\n\r\n")


def test_silent_clients_delay_neither_others_nor_the_start(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.server.loading_responder.HEAD_SECONDS", 40.0)
    responder = answer_while_loading(listener)
    responder.__enter__()
    silent = [connect(listener, b"") for _ in range(3)]
    with connect(listener, GET) as connection:
        assert b" 503 " in read_answer(connection)
    end = threading.Thread(target=responder.__exit__, args=(None, None, None))
    end.start()
    for connection in silent:  # answered when the model is loaded, not when their time is over
        with connection:
            assert b" 503 " in read_answer(connection, 20)
    end.join()


def test_clients_that_no_thread_can_answer_wait_for_the_processes(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fusionzoo.server.loading_responder.THREADS", 2)
    silent = []
    with answer_while_loading(listener):
        silent += [connect(listener, b"") for _ in range(10)]
        time.sleep(0.2)  # for threads that accept more than they can answer
    waiting = []
    with suppress(BlockingIOError):
        while True:
            waiting.append(listener.accept()[0])
    assert len(waiting) >= 8
    for connection in (*waiting, *silent):
        connection.close()


def test_afterwards_no_thread_is_left_and_connections_wait_for_the_processes(listener: socket.socket) -> None:
    before = threading.active_count()
    with answer_while_loading(listener), connect(listener, GET) as connection:
        read_answer(connection)
    assert threading.active_count() == before
    with connect(listener, GET) as connection:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.recv(1000) == GET
            accepted.sendall(b"from a process")
        assert read_answer(connection) == b"from a process"


def test_no_connection_is_reset_when_loading_ends(listener: socket.socket) -> None:
    answers: list[bytes] = []

    def ask() -> None:
        with connect(listener, GET) as connection:
            answers.append(connection.recv(12))

    with answer_while_loading(listener):
        clients = [threading.Thread(target=ask) for _ in range(50)]
        for client in clients:
            client.start()
    with answer_while_loading(listener):  # stands for the processes
        for client in clients:
            client.join()
    assert answers == [b"HTTP/1.1 503"] * 50


def test_a_port_that_is_in_use_is_an_error_that_names_it(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(ServerAddressError, match=rf"'127.0.0.1', port {port} \(Address already in use\)") as caught:
        open_listener("127.0.0.1", port)
    assert "--port" in caught.value.fix


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this machine has no IPv6")
@pytest.mark.parametrize("client", ["::1", "127.0.0.1"])
def test_all_addresses_of_ipv6_are_those_of_ipv4_too(client: str) -> None:
    with open_listener("::", 0) as opened, answer_while_loading(opened):
        connection = socket.create_connection((client, opened.getsockname()[1]), timeout=60)
        connection.sendall(GET)
        assert b" 503 " in read_answer(connection)
        connection.close()


@pytest.mark.parametrize("host", ["host.invalid", "192.0.2.1", ""])
def test_an_address_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(ServerAddressError, match="cannot listen"):
        open_listener(host, 0)
