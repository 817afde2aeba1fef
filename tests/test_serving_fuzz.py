"""Requests that nobody sends on purpose have predictions for all rows, or an error of the client.

FUZZ_FACTOR multiplies the number of requests, which is about 2,200.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
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
NAMES = [*FEATURES, "id", "target", "other", "__proto__", "instances", "inputs", ""]
ACCEPTS = ["application/json", "text/csv;header=present", "application/jsonlines", "*/*;q=0.1", ""]
WRAPPERS = ["instances", "inputs", None]
values = st.sampled_from(VALUES) | st.text(max_size=20) | st.floats() | st.integers()
records = st.lists(st.dictionaries(st.sampled_from(NAMES), values), max_size=3)
edits = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=3)


def examples(count: int) -> Callable[[Any], Any]:
    """Return a decorator that sets the number of examples of a test."""
    return settings(max_examples=count * int(os.environ.get("FUZZ_FACTOR", "1")), deadline=None)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def check(server: Server, body: bytes, content_type: str, rows: int | None = None, **headers: str) -> None:
    response = server.post(body, content_type, **{"Accept": JSON, **headers})
    if response.status_code == 200:
        assert rows is None or len(decode(response)) == rows
    else:
        assert response.status_code in (400, 413, 422), response.text
        assert read_error(response, response.status_code)["fix"]


@examples(300)
@given(content_type=st.sampled_from(sorted(BODIES)), edits=edits, gzipped=st.booleans())
def test_a_damaged_body_is_no_failure_of_the_server(
    server: Server, content_type: str, edits: list[tuple[int, int, bytes]], gzipped: bool
) -> None:
    body = bytearray(gzip.compress(BODIES[content_type]) if gzipped else BODIES[content_type])
    for position, length, piece in edits:
        start = position % (len(body) + 1)
        body[start : start + length] = piece
    check(server, bytes(body), content_type, Content_Encoding="gzip" if gzipped else "identity")


@examples(300)
@given(rows=records, wrapper=st.sampled_from(WRAPPERS))
def test_json_of_any_values_is_no_failure_of_the_server(
    server: Server, rows: list[dict[str, Any]], wrapper: str | None
) -> None:
    document = rows if wrapper is None else {wrapper: rows}
    check(server, json.dumps(document).encode(), JSON, len(rows))
    check(server, "\n".join(map(json.dumps, rows)).encode(), JSONL, len(rows))


@examples(200)
@given(body=st.binary(max_size=200), content_type=st.sampled_from(sorted(BODIES)))
def test_any_bytes_are_no_failure_of_the_server(server: Server, body: bytes, content_type: str) -> None:
    check(server, body, content_type)


@examples(100)
@given(content_type=st.text(max_size=40), accept=st.text(max_size=40), encoding=st.text(max_size=10))
def test_headers_of_any_text_are_no_failure_of_the_server(
    server: Server, content_type: str, accept: str, encoding: str
) -> None:
    headers = {"HTTP_ACCEPT": accept, "HTTP_CONTENT_ENCODING": encoding, "CONTENT_TYPE": content_type}
    plain = {name: text.encode("ascii", "ignore").decode() for name, text in headers.items()}
    for chosen in (plain, {**plain, "CONTENT_TYPE": CSV}, {**plain, "CONTENT_TYPE": CSV, "HTTP_CONTENT_ENCODING": ""}):
        response = server.client.post("/invocations", data=BODIES[CSV], environ_overrides=chosen)
        assert response.status_code in (200, 400, 406, 415), response.text


GOOD = {"message": "late", "country": "de", "price": 1.5, "visits": 2}
WRONG: dict[str, Callable[[str], str]] = {  # from the JSON of a row to one that cannot be scored
    "a word as a number": lambda row: row.replace("1.5", '"cheap"'),
    "an infinite number": lambda row: row.replace("1.5", "-Infinity"),
    "a number that float32 cannot hold": lambda row: row.replace("1.5", "1e39"),
    "a list as a category": lambda row: row.replace('"de"', '["de"]'),
    "an object as a text": lambda row: row.replace('"late"', '{"text": "late"}'),
    "a key that occurs twice": lambda row: row.replace("1.5", '1.5, "price": 1.5'),
    "a row that is a number": lambda row: "3",
    "a row that is null": lambda row: "null",
    "a row without its end": lambda row: row[:-1],
}


@examples(300)
@given(
    wrong=st.sampled_from(sorted(WRONG)),
    rows=st.integers(1, 5),
    position=st.integers(0, 4),
    wrapper=st.sampled_from([*WRAPPERS, "lines"]),
    accept=st.sampled_from(ACCEPTS),
)
def test_a_request_with_one_wrong_row_has_no_score(
    server: Server, wrong: str, rows: int, position: int, wrapper: str | None, accept: str
) -> None:
    lines = [json.dumps(GOOD)] * rows
    lines[position % rows] = WRONG[wrong](lines[0])
    if wrapper == "lines":
        body, content_type = "\n".join(lines), JSONL
    else:
        body, content_type = f"[{', '.join(lines)}]", JSON
        body = body if wrapper is None else f'{{"{wrapper}": {body}}}'
    response = server.post(body, content_type, Accept=accept)
    error = read_error(response, response.status_code)
    assert response.status_code in (400, 422)
    assert "prob" not in response.text.replace("problem", "")
    if not (wrong == "a row without its end" and content_type == JSON):  # then there are no rows
        assert error["problems"][0]["row"] == position % rows + 1


@examples(100)
@given(
    rows=st.lists(st.fixed_dictionaries({name: st.text(max_size=9) for name in FEATURES[:2]}), min_size=1, max_size=8),
    accept=st.sampled_from(ACCEPTS),
    wrapper=st.sampled_from(WRAPPERS),
)
def test_rows_of_any_text_have_one_record_each_that_depends_on_no_other_row(
    server: Server, rows: list[dict[str, Any]], accept: str, wrapper: str | None
) -> None:
    given_rows = [{**row, "price": None, "visits": i, "id": f"id-{i}"} for i, row in enumerate(rows)]
    document = given_rows if wrapper is None else {wrapper: given_rows}
    together = decode(server.post(json.dumps(document), JSON, Accept=accept))
    assert [record["id"] for record in together] == [row["id"] for row in given_rows]
    (alone,) = decode(server.post(json.dumps(given_rows[-1]), JSON, Accept=accept))
    assert together[-1]["prob_1"] == pytest.approx(alone["prob_1"], abs=1e-6)


def test_requests_leave_nothing_behind(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects, threads, open files and temporary files are as many after 300 requests as after 100."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    bodies = [*BODIES.items(), *((content_type, body[: len(body) // 2]) for content_type, body in BODIES.items())]
    counts = []
    for _ in range(3):
        for number in range(100):
            content_type, body = bodies[number % len(bodies)]
            server.post(body, content_type)
        gc.collect()
        temporary = len([*tmp_path.iterdir()])
        counts.append(
            (len(gc.get_objects()), threading.active_count(), len([*Path("/proc/self/fd").iterdir()]), temporary)
        )
    assert counts[2][1:] == counts[1][1:]
    assert counts[2][0] - counts[1][0] < 50, "less than one object for two requests"
