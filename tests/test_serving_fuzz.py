"""Requests that nobody sends on purpose have predictions for all rows, or an error of the client."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serve_helpers import CSV, FEATURES, JSON, JSONL, PARQUET, ROWS, Server, decode, encode, read_error

BODIES = {content_type: encode(ROWS, content_type) for content_type in (CSV, JSON, JSONL, PARQUET)}
PIECES = [b'"', b"\n", b"\r", b",", b"\x00", b"\xff", b"{", b"]", b"\\", b"\xef\xbb\xbf", b"\xed\xa0\x80", b"NaN"]
VALUES: list[Any] = [
    *(None, True, 0, -1, 1e308, float("nan"), float("inf"), 2**64, 10**400, "", "x", "1e999", "NULL", "\ud800", "\x00"),
    *([], [1], {}, {"a": 1}, "2020-01-01", "\u2028", "9" * 400, "0x10", "1_000", "a" * 3000),
]
values = st.sampled_from(VALUES)
records = st.lists(st.dictionaries(st.sampled_from([*FEATURES, "id", "target", "other"]), values), max_size=3)
edits = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=3)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def check(server: Server, body: bytes, content_type: str, rows: int | None = None) -> None:
    response = server.post(body, content_type, Accept=JSON)
    if response.status_code == 200:
        assert rows is None or len(decode(response)) == rows
    else:
        assert response.status_code in (400, 413, 422), response.text
        assert read_error(response, response.status_code)["fix"]


@settings(max_examples=200, deadline=None)
@given(content_type=st.sampled_from(sorted(BODIES)), edits=edits)
def test_a_damaged_body_is_no_failure_of_the_server(
    server: Server, content_type: str, edits: list[tuple[int, int, bytes]]
) -> None:
    body = bytearray(BODIES[content_type])
    for position, length, piece in edits:
        start = position % (len(body) + 1)
        body[start : start + length] = piece
    check(server, bytes(body), content_type)


@settings(max_examples=200, deadline=None)
@given(rows=records, wrapper=st.sampled_from(["instances", "inputs", None]))
def test_json_of_any_values_is_no_failure_of_the_server(
    server: Server, rows: list[dict[str, Any]], wrapper: str | None
) -> None:
    document = rows if wrapper is None else {wrapper: rows}
    check(server, json.dumps(document).encode(), JSON, len(rows))
    check(server, "\n".join(map(json.dumps, rows)).encode(), JSONL, len(rows))


@settings(max_examples=100, deadline=None)
@given(content_type=st.text(max_size=40), accept=st.text(max_size=40), encoding=st.text(max_size=10))
def test_headers_of_any_text_are_no_failure_of_the_server(
    server: Server, content_type: str, accept: str, encoding: str
) -> None:
    headers = {"HTTP_ACCEPT": accept, "HTTP_CONTENT_ENCODING": encoding, "CONTENT_TYPE": content_type}
    plain = {name: text.encode("ascii", "ignore").decode() for name, text in headers.items()}
    for chosen in (plain, {**plain, "CONTENT_TYPE": CSV}, {**plain, "CONTENT_TYPE": CSV, "HTTP_CONTENT_ENCODING": ""}):
        response = server.client.post("/invocations", data=BODIES[CSV], environ_overrides=chosen)
        assert response.status_code in (200, 400, 406, 415), response.text
