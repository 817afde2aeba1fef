"""What arrives at the port of `fusionzoo serve`, valid HTTP or not, has one JSON error or the right response."""

from __future__ import annotations

import json
import re

import pytest

from fusionzoo.server.gunicorn_server import KEEP_ALIVE_SECONDS
from server_process import RunningServer, read_answer

SECRET = b"secretvalue"  # never in a response or in the log
ROWS = b"message,country,price,visits\na,de,1,2\n"
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(ROWS)
CLOSE = b"Connection: close\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(ROWS), ROWS)
LARGE = 30_000_000  # bytes, more than the buffers of a connection hold
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n"
BODY = b"Content-Length: 200000\r\n\r\n" + b"a" * 200_000  # gunicorn skips no more than 64 kB

NOT_HTTP = {
    "binary": (b"\x16\x03\x01" + SECRET + b"\r\n\r\n", 400),
    "a header without a name": (PING + b": " + SECRET + b"\r\n\r\n", 400),
    "a space in the name of a header": (PING + b"Na me: " + SECRET + b"\r\n\r\n", 400),
    "a folded header": (PING + b"A: b\r\n " + SECRET + b"\r\n\r\n", 400),
    "a NUL in a header": (PING + b"A: \x00" + SECRET + b"\r\n\r\n", 400),
    "a method in lower case": (b"get /ping HTTP/1.1\r\n\r\n", 400),
    "a later version": (b"GET /" + SECRET + b" HTTP/9.1\r\n\r\n", 400),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "a negative length": (POST + b"Content-Length: -1\r\n\r\n" + ROWS, 400),
    "a length in letters": (POST + b"Content-Length: " + SECRET + b"\r\n\r\n" + ROWS, 400),
    "two lengths": (POST + LENGTH + b"Content-Length: 3\r\n\r\n" + ROWS, 400),
    "a length and chunks": (POST + LENGTH + CHUNKED + b"\r\n" + CHUNKS, 400),
    "a hidden second request": (POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + PING + b"\r\n", 400),
    "an unknown coding": (POST + b"Transfer-Encoding: " + SECRET + b"\r\n\r\n" + ROWS, 501),
    "a body compressed for the transfer": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n" + CHUNKS, 501),
    "a long address": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414),
    "a long header": (PING + b"A: " + b"a" * 90_000 + b"\r\n\r\n", 431),
    "many headers": (PING + b"".join(b"A%d: a\r\n" % i for i in range(300)) + b"\r\n", 431),
    "an unknown expectation": (POST + LENGTH + b"Expect: " + SECRET + b"\r\n\r\n" + ROWS, 417),
}


def ask(server: RunningServer, content: bytes) -> bytes:
    with server.connect(content) as connection:
        return read_answer(connection)


@pytest.mark.parametrize(("content", "status"), NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_what_is_not_valid_http_has_one_json_error_without_what_was_sent(
    running_server: RunningServer, content: bytes, status: int
) -> None:
    answer = ask(running_server, content)
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)  # one response: a second request that hides in the first one has none
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"Content-Type: application/json" in head
    assert document["error"]["code"] == "FZ-H022"
    assert f"X-Request-Id: {document['request_id']}".encode() in head
    access = running_server.log.with_name("access.txt").read_text()
    (line,) = [json.loads(line) for line in access.splitlines() if document["request_id"] in line]
    assert (line["status"], line["error"]) == (status, "FZ-H022")
    for text in (answer, access.encode(), running_server.log.read_bytes()):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("content", "statuses"),
    [
        (b"GET /ping HTTP/1.0\r\n\r\n", [200]),
        (PING + CLOSE + b"\r\n", [200]),
        (b"GET http://another/ping HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", [200]),
        (b"GET /%00%zz/..%2f HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", [404]),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", [404]),
        (b"OPTIONS /invocations HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", [200]),
        (b"TRACE /ping HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n", [405]),
        (b"POST /invocations HTTP/1.0\r\nContent-Type: text/csv\r\n" + LENGTH + b"\r\n" + ROWS, [200]),
        (POST + LENGTH + CLOSE + b"Expect: 100-continue\r\n\r\n" + ROWS, [100, 200]),
        (POST + CHUNKED + CLOSE + b"\r\n" + CHUNKS, [200]),
        (POST + LENGTH + b"\r\n" + ROWS + POST + LENGTH + b"\r\n" + ROWS + PING + CLOSE + b"\r\n", [200] * 3),
        (POST + b"Content-Length: 4\r\n\r\nx,y\n" + PING + CLOSE + b"\r\n", [400, 200]),
        (POST + CLOSE + b"\r\n" + ROWS, [400]),  # a body without a length
        (PING + BODY + PING + CLOSE + b"\r\n", [200, 200]),
        (b"OPTIONS /invocations HTTP/1.1\r\nHost: x\r\n" + BODY + PING + CLOSE + b"\r\n", [200, 200]),
        (b"GET /invocations HTTP/1.1\r\nHost: x\r\n" + BODY + PING + CLOSE + b"\r\n", [405, 200]),
        (POST + b"Transfer-Encoding: identity, chunked\r\n" + CLOSE + b"\r\n" + CHUNKS, [200]),
    ],
)
def test_each_request_of_a_connection_has_its_own_response(
    running_server: RunningServer, content: bytes, statuses: list[int]
) -> None:
    found = re.findall(rb"HTTP/1\.\d (\d+) ", ask(running_server, content))
    assert [int(status) for status in found] == statuses


@pytest.mark.parametrize("path", [b"/ping", b"/nowhere", b"/invocations"])
def test_http_1_1_needs_the_header_host(running_server: RunningServer, path: bytes) -> None:
    answer = ask(running_server, b"POST " + path + b" HTTP/1.1\r\n" + LENGTH + b"\r\n" + ROWS)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["error"]["code"] == "FZ-H030"


@pytest.mark.parametrize(
    "content",
    [
        PING + b"Content-Length: 200000000\r\n\r\n",
        b"POST /ping HTTP/1.1\r\nHost: x\r\n" + LENGTH + b"Expect: 100-continue\r\n\r\n",
        POST + CHUNKED + b"\r\nzz\r\n",
    ],
)
def test_the_response_says_that_the_connection_is_closed_if_the_body_has_no_end(
    running_server: RunningServer, content: bytes
) -> None:
    answer = ask(running_server, content).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert b"\r\nConnection: close\r\n" in answer, answer


def test_an_idle_connection_stays_open_for_longer_than_that_of_a_load_balancer() -> None:
    assert KEEP_ALIVE_SECONDS > 60, "the default of AWS"


def test_the_response_to_head_has_no_content(running_server: RunningServer) -> None:
    answer = ask(running_server, b"HEAD /metrics HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n" % LARGE, CHUNKED + b"\r\n%x\r\n" % LARGE])
@pytest.mark.parametrize(("content_type", "status"), [(b"text/csv", 413), (b"image/png", 415)])
def test_a_client_that_sends_a_large_body_sees_why_it_is_refused(
    running_server: RunningServer, framing: bytes, content_type: bytes, status: int
) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\n" + CLOSE + b"Content-Type: " + content_type + b"\r\n"
    end = b"\r\n0\r\n\r\n" if CHUNKED in framing else b""
    answer = ask(running_server, head + framing + b"a" * LARGE + end)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
