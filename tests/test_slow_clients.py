"""Clients that send slowly, or never close their connections, keep nobody from /ping and /metrics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from fusionzoo.server.server_limits import THREADS
from serve_helpers import CSV
from server_process import RunningServer, read_answer, serve
from shop import JobFolder

ROWS = b"message,country,price,visits\na,de,1,2\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
HALF_REQUESTS = {
    "headers": POST,
    "a body": POST + b"Content-Length: 100\r\n\r\nab",
    "a body in chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
    "a large body": POST + b"Content-Length: 900000\r\n\r\nab",
    "a body that is not read": b"GET /ping HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab",
}
SECONDS = 30  # that a client waits for a response; slow clients have longer


@pytest.fixture(scope="module")
def server(trained_job: JobFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    limits = ("--workers", "1", "--request-seconds", "300", "--max-body-mb", "1")
    with serve(trained_job.model, tmp_path_factory.mktemp("serve"), *limits) as running:
        yield running


def ask(server: RunningServer, content: bytes) -> bytes:
    with server.connect(content) as connection:
        return read_answer(connection, SECONDS)


@pytest.mark.parametrize("half", HALF_REQUESTS.values(), ids=HALF_REQUESTS.keys())
def test_slow_senders_leave_threads_for_other_paths(server: RunningServer, half: bytes) -> None:
    end = b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(ROWS), ROWS)
    with ExitStack() as stack:
        for _ in range(THREADS + 40):
            stack.enter_context(server.connect(half))
        for path in (b"/ping", b"/metrics"):
            answer = ask(server, b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 200 "), answer
            assert b"Connection: close" in answer
        refused = ask(server, POST + end)
        assert refused.startswith(b"HTTP/1.1 503 "), refused
        assert b"FZ-H029" in refused
        assert b"Retry-After: 1" in refused
    for _ in range(SECONDS):
        status, content = server.request("POST", "/invocations", ROWS, Content_Type=CSV)
        if status == 200:
            break
    assert status == 200, content


def test_a_client_that_does_not_close_its_connection_stops_no_other(server: RunningServer) -> None:
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    requests = [ping, b"GET /ping HTTP/1.0\r\n\r\n", b"not HTTP\r\n\r\n"]
    with ExitStack() as stack:
        for content in requests:
            connection = stack.enter_context(server.connect(content))
            assert read_answer(connection, SECONDS).startswith(b"HTTP/1.")
        answer = ask(server, ping)
    assert answer.startswith(b"HTTP/1.1 200 "), answer
