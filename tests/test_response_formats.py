"""Which format a response has, and what its format can hold."""

from __future__ import annotations

import pytest

from predictor_helpers import make_predictor
from serve_helpers import CSV, JSON, JSONL, ROWS, Server, decode, encode, read_error

JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"  # the default of HttpURLConnection


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        (JAVA, CSV),
        ("*", CSV),
        ("*/*;q=.8", CSV),
        ("*/*;q=1.", CSV),
        ("application/json;q=.9", JSON),
        ("text/csv;q=0., application/json;q=.1", JSON),
        ("application/json;q=.3, application/jsonlines;q=.4", JSONL),
        ("text/csv;q=.1, text/csv;header=present", CSV),
        ("text/html;q=high, application/json", JSON),
        ("nonsense", CSV),
        ("*/json, /, ;q=1", CSV),
        ("text/html;q=2", CSV),
        ("", CSV),
    ],
)
def test_ranges_are_read_generously_and_malformed_ones_are_ignored(
    server: Server, accept: str, media_type: str
) -> None:
    response = server.post(encode(ROWS, CSV), Accept=accept)
    assert (response.status_code, response.mimetype) == (200, media_type), response.text


@pytest.mark.parametrize("line_break", ["\n", "\r", "\r\n"])
def test_an_id_with_a_line_break_is_refused_where_csv_would_have_several_lines_for_a_row(
    server: Server, line_break: str
) -> None:
    body = encode(ROWS.assign(id=f"a{line_break}b"), JSON)
    assert read_error(server.post(body, JSON, Accept=CSV), 422)["code"] == "FZ-H031"
    assert {record["id"] for record in decode(server.post(body, JSON, Accept=JSONL))} == {f"a{line_break}b"}
    texts = encode(ROWS.assign(message=f"a{line_break}b"), JSON)
    assert len(decode(server.post(texts, JSON, Accept=f"{CSV}; header=present"))) == len(ROWS), "it is in no response"


def test_a_class_with_a_line_break_is_refused_where_csv_has_it() -> None:
    server = Server(make_predictor(("good", "very\nbad"))[0])
    assert read_error(server.post(encode(ROWS, CSV)), 422)["code"] == "FZ-H031"
    records = decode(server.post(encode(ROWS, CSV), Accept=JSON))
    assert {"prob_good", "prob_very\nbad"} <= records[0].keys()
