"""Requests that cannot be answered with predictions: a status, and a JSON document that names row and column."""

from __future__ import annotations

import gzip
import io
import json
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from fusionzoo import errors
from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.scoring_service import ScoringService
from fusionzoo.server.server_limits import ServerLimits
from predictor_helpers import make_predictor
from serve_helpers import CSV, JSON, JSONL, PARQUET, ROWS, Server, decode, encode, read_error
from shop import shop_rows

HEADER = "message,country,price,visits\n"
GOOD = '{"message": "a", "country": "de", "price": 1, "visits": 2}'


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def test_ids_that_csv_cannot_hold_are_an_error_and_json_writes_them(server: Server) -> None:
    body = encode(ROWS.assign(id=b"\xff"), PARQUET)
    error = read_error(server.post(body, PARQUET, Accept=CSV), 422)
    assert error["code"] == "FZ-H024"
    assert len(decode(server.post(body, PARQUET, Accept=JSON))) == len(ROWS)


@pytest.mark.parametrize(
    ("body", "content_type", "row", "column"),
    [
        (f"{HEADER}a,de,1,2\na,de,x,2\n", CSV, 2, "price"),
        ("a,de,1,2\na,de,1,x\n", CSV, 2, "visits"),
        (f'{GOOD}\n{{"message": "a", "country": "de", "price": [1], "visits": 2}}\n', JSONL, 2, "price"),
        (f'[{GOOD}, {{"message": {{"a": 1}}, "country": "de", "price": 1, "visits": 2}}]', JSON, 2, "message"),
        ('{"instances": [{"message": "a", "country": "de", "price": Infinity, "visits": 2}]}', JSON, 1, "price"),
        ("message,country,prize,visits\na,de,1,2\n", CSV, None, "price"),
        ("message,country,price,visits,price\na,de,1,2,3\n", CSV, None, "price"),
        ('{"message": "a"}', JSON, None, "country"),
        (encode(ROWS.drop(columns="price"), PARQUET), PARQUET, None, "price"),
        (encode(ROWS.assign(price=b"1"), PARQUET), PARQUET, 1, "price"),
    ],
)
def test_a_value_that_cannot_be_scored_is_named_by_row_and_column(
    server: Server, body: str | bytes, content_type: str, row: int | None, column: str
) -> None:
    error = read_error(server.post(body, content_type), 422)
    assert (error["problems"][0]["row"], error["problems"][0]["column"]) == (row, column)
    assert error["problems"][0]["fix"]


@pytest.mark.parametrize(
    ("body", "content_type", "row"),
    [
        (f"{HEADER}a,de,1,2\na,de,1\n", CSV, 2),
        (f"{HEADER}a,de,1,2\na,de,1,2,3\n", CSV, 2),
        (HEADER.encode() + b"a,de,1,2\n\xff,de,1,2\n", CSV, 2),
        (f"{GOOD}\n[1]\n", JSONL, 2),
        (f"{GOOD}\n{GOOD[:-1]}\n", JSONL, 2),
        (GOOD.encode() + b'\n{"message": "\xff"}\n', JSONL, 2),
        (f"[{GOOD}, 3]", JSON, 2),
        (f'{{"instances": [{GOOD}, [1, 2]]}}', JSON, 2),
        (f'{GOOD}\n{GOOD[:-1]}, "price": 3}}\n', JSONL, 2),
        (f'[{GOOD}, {GOOD[:-1]}, "price": 1}}]', JSON, 2),
        (f'{{"inputs": [{GOOD}, {GOOD[:-1]}, "price": 3}}]}}', JSON, 2),
        (f'{GOOD[:-1]}, "message": null}}', JSON, 1),
    ],
)
def test_a_row_that_is_not_of_its_format_is_named(
    server: Server, body: str | bytes, content_type: str, row: int
) -> None:
    error = read_error(server.post(body, content_type), 400)
    assert error["problems"][0]["row"] == row
    assert f"row {row}:" in error["message"]


@pytest.mark.parametrize(
    "body",
    ['"late" parcel,de,1,2\na,de,1,2\n', 'b,"late" parcel,de,1,2\n', '\n"late" parcel,de,1,2', '"message" x,price\n'],
)
@pytest.mark.parametrize("parameter", ["", "; header=absent", "; header=present"])
def test_a_first_line_with_a_quote_that_does_not_end_is_named(server: Server, body: str, parameter: str) -> None:
    error = read_error(server.post(body, CSV + parameter), 400)
    assert f"line {2 if body[0] == chr(10) else 1}: a quoted text does not end correctly" in error["message"]
    assert "double each quote" in error["fix"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", CSV),
        (b" \n", JSON),
        (b"", PARQUET),
        (HEADER, CSV),
        ("[]", JSON),
        ('{"instances": []}', JSON),
        ("{", JSON),
        (f"[{GOOD}", JSON),
        ('"text"', JSON),
        ("null", JSON),
        (f'{{"instances": [{GOOD}], "parameters": {{}}}}', JSON),
        (f'{{"instances": [{GOOD}], "instances": [{GOOD}, {GOOD}]}}', JSON),
        ("[" * 100_000, JSON),
        ('{"a":' * 100_000, JSON),
        ("9" * 10_000, JSON),
        (b'{"message": "\xff"}', JSON),
        (f'{HEADER}"a,de,1,2\n', CSV),
        ("1,2\n", CSV),
        (b"PAR1 is not all", PARQUET),
        (encode(ROWS, PARQUET)[:-30], PARQUET),
        (b"\x00\xff\xfe", JSONL),
    ],
)
def test_a_body_that_cannot_be_read_has_status_400(server: Server, body: str | bytes, content_type: str) -> None:
    error = read_error(server.post(body, content_type), 400)
    assert error["message"]
    assert error["fix"]


@pytest.mark.parametrize("content_type", [CSV, JSON, JSONL])
@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_text_in_utf_16_has_status_415(server: Server, content_type: str, charset: str) -> None:
    body = f"\ufeff{encode(ROWS, content_type).decode()}".encode(charset)
    assert "encode the rows as UTF-8" in read_error(server.post(body, content_type), 415)["fix"]


@pytest.mark.parametrize("content_type", [None, "text/plain", "image/png", "text/csv; charset=latin-1", "csv"])
def test_a_format_that_is_not_supported_has_status_415(server: Server, content_type: str | None) -> None:
    assert read_error(server.post(encode(ROWS, CSV), content_type), 415)["fix"]


def test_a_compression_that_is_not_supported_or_damaged_is_an_error(server: Server) -> None:
    body = gzip.compress(encode(ROWS, CSV))
    assert "'br'" in read_error(server.post(body, CSV, Content_Encoding="br"), 415)["message"]
    for damaged in (body[:-20], encode(ROWS, CSV)):
        assert read_error(server.post(damaged, CSV, Content_Encoding="gzip"), 400)["fix"]
    assert server.post(body, CSV, Content_Encoding="gzip").status_code == 200


@pytest.mark.parametrize(
    "accept", ["text/html", "*/*;q=0", "*;q=0.", "text/html;q=.5, nonsense", "application/json; charset=utf-16"]
)
def test_a_response_that_is_not_acceptable_has_status_406(server: Server, accept: str) -> None:
    assert "text/csv" in read_error(server.post(encode(ROWS, CSV), Accept=accept), 406)["fix"]


def test_other_paths_and_methods_have_status_404_and_405(server: Server) -> None:
    assert "/invocations" in read_error(server.client.get("/invocation"), 404)["fix"]
    response = server.client.get("/invocations")
    assert "POST" in read_error(response, 405)["fix"]
    assert "POST" in response.headers["Allow"]
    read_error(server.client.post("/ping"), 405)


class TestLimits:
    """Limits of size."""

    def test_a_large_body_has_status_413_compressed_or_not(self) -> None:
        server, body = Server(max_body_bytes=300), encode(ROWS, CSV)
        assert len(gzip.compress(b"a" * 10_000)) < 300
        assert "--max-body-mb" in read_error(server.post(body), 413)["fix"]
        read_error(server.post(gzip.compress(b"a" * 10_000), CSV, Content_Encoding="gzip"), 413)
        assert len(decode(server.post(f"{HEADER}a,de,1,2\n", Accept=JSON))) == 1

    def test_a_parquet_file_that_expands_has_status_413(self) -> None:
        frame = pd.DataFrame({"message": ["a" * 1000] * 9000, "country": "de", "price": 1.0, "visits": 2.0})
        body = encode(frame, PARQUET)
        assert len(body) < 100_000
        read_error(Server(max_body_bytes=100_000).post(body, PARQUET), 413)

    @pytest.mark.parametrize("content_type", [CSV, JSON, JSONL, PARQUET])
    def test_too_many_rows_have_status_413(self, content_type: str) -> None:
        server = Server(max_rows=11)
        assert "--max-rows" in read_error(server.post(encode(ROWS, content_type), content_type), 413)["fix"]
        assert len(decode(server.post(encode(ROWS[:11], content_type), content_type, Accept=JSON))) == 11

    @pytest.mark.parametrize("content_type", [CSV, JSON, JSONL, PARQUET])
    def test_a_long_text_has_status_413_with_its_row_and_column(self, content_type: str) -> None:
        frame = ROWS.assign(message=["short"] * 5 + ["ü" * 101] + ["short"] * 6)
        error = read_error(Server(max_text_length=100).post(encode(frame, content_type), content_type), 413)
        assert (error["problems"][0]["row"], error["problems"][0]["column"]) == (6, "message")
        assert Server(max_text_length=101).post(encode(frame, content_type), content_type).status_code == 200


class TestAvailability:
    """Status 503."""

    def test_the_server_is_not_ready_before_a_row_has_been_scored(self) -> None:
        server = Server()
        server.service._is_ready = False
        for response in (server.client.get("/ping"), server.post(encode(ROWS, CSV))):
            assert "loading" in read_error(response, 503)["message"]
            assert int(response.headers["Retry-After"]) >= 1
        server.service.warm_up()
        ready = server.client.get("/ping")
        assert (ready.status_code, ready.data) == (200, b"")

    def test_a_model_that_scores_nothing_is_never_ready(self, caplog: pytest.LogCaptureFixture) -> None:
        predictor, session = make_predictor()
        session.scores = lambda rows: np.zeros((rows, 5), np.float32)  # as many outputs as another model
        server = Server(predictor)
        assert "The model does not work" in read_error(server.client.get("/ping"), 503)["message"]
        assert "cannot score a row" in caplog.text

    def test_more_requests_than_allowed_wait_and_then_have_status_503(self) -> None:
        server = Server(concurrency=1, queue_seconds=0.05)
        started, finish = threading.Event(), threading.Event()

        def wait(rows: int) -> np.ndarray:
            started.set()
            finish.wait(30)
            return np.full((rows, 2), 0.5, np.float32)

        server.session.scores = wait
        responses = []
        thread = threading.Thread(target=lambda: responses.append(server.post(encode(ROWS, CSV))))
        thread.start()
        assert started.wait(30)
        refused = server.post(encode(ROWS, CSV))
        assert server.client.get("/ping").status_code == 200, "health checks do not wait"
        finish.set()
        thread.join()
        read_error(refused, 503)
        assert refused.headers["Retry-After"]
        assert responses[0].status_code == 200
        assert server.post(encode(ROWS, CSV)).status_code == 200, "the place is free again"

    def test_the_place_of_a_failed_request_is_free_again(self) -> None:
        server = Server(concurrency=1, queue_seconds=0.05)
        for _ in range(3):
            read_error(server.post(f"{HEADER}a,de,x,2\n"), 422)
        assert server.post(encode(ROWS, CSV)).status_code == 200


def test_rows_with_scores_that_are_not_finite_are_a_logged_failure_that_names_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server()
    server.session.scores = lambda rows: np.full((rows, 2), np.nan, np.float32)
    error = read_error(server.post(encode(ROWS, JSON), JSON), 500)
    assert error["code"] == "FZ-H027"
    assert [problem["row"] for problem in error["problems"]] == [1, 2, 3]
    assert {problem["message"] for problem in error["problems"]} == {"the prediction is NaN or infinite"}
    assert "FZ-O112" in caplog.text


def test_an_unexpected_exception_is_logged_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()

    def fail(rows: int) -> np.ndarray:
        raise RuntimeError("a secret path")

    server.session.scores = fail
    assert "secret" not in server.post(encode(ROWS, CSV)).text
    assert "a secret path" in caplog.text


def test_a_body_that_ends_early_has_status_400(server: Server) -> None:
    class CutOff(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            raise OSError("the chunk has no end")  # as gunicorn does

    response = server.client.post(
        "/invocations",
        content_type=CSV,
        environ_overrides={"wsgi.input": CutOff(), "CONTENT_LENGTH": "10"},
    )
    assert read_error(response, 400)["code"] == "FZ-H014"


def test_the_columns_of_a_model_may_not_have_the_name_of_the_version() -> None:
    predictor, _ = make_predictor(frame=shop_rows(80).rename(columns={"id": "model_version"}), id_name="model_version")
    with pytest.raises(errors.PredictionColumnsError, match="model_version"):
        ScoringService(predictor, ServerLimits())


def test_every_line_of_the_access_log_is_json_with_the_request_id(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fusionzoo.access")
    given = server.post(encode(ROWS, CSV), X_Request_Id="job-7/part:3")
    refused = server.post("x", "text/plain", X_Request_Id='"} forged')
    server.client.get("/ping")
    lines = [json.loads(record.message) for record in caplog.records if record.name == "fusionzoo.access"]
    assert [line["status"] for line in lines] == [200, 415], "successful health checks are not logged"
    assert lines[0]["request_id"] == given.headers["X-Request-Id"] == "job-7/part:3"
    assert lines[0]["rows"] == len(ROWS)
    assert lines[1]["request_id"] == refused.headers["X-Request-Id"]
    assert "forged" not in lines[1]["request_id"]
    assert lines[1]["error"] == "FZ-H002"


def test_metrics_count_requests_by_path_and_status_and_rows() -> None:
    server = Server()
    for body in (encode(ROWS, CSV), encode(ROWS, CSV), f"{HEADER}a,de,x,2\n"):
        server.post(body)
    for number in range(3):
        server.client.get(f"/unknown/{number}")
    text = server.client.get("/metrics").text
    assert 'fusionzoo_requests_total{path="/invocations",status="200"} 2.0' in text
    assert 'fusionzoo_requests_total{path="/invocations",status="422"} 1.0' in text
    assert 'fusionzoo_requests_total{path="other",status="404"} 3.0' in text, "clients cannot create new series"
    assert f"fusionzoo_rows_total {2 * len(ROWS)}.0" in text
    assert 'fusionzoo_request_seconds_count{path="/invocations"} 3.0' in text


def test_data_frames_are_recognized_while_another_thread_imports_pandas(monkeypatch: pytest.MonkeyPatch) -> None:
    predictor, _ = make_predictor()
    records = ROWS.to_dict("records")
    expected = predictor.predict(records)
    monkeypatch.setitem(__import__("sys").modules, "pandas", SimpleNamespace())
    assert predictor.predict(records) == expected


def test_an_error_of_a_request_has_a_status_and_a_fix() -> None:
    error = RequestError.text_too_long(3, "message", 20, 10)
    assert (error.status, error.problems[0].row, error.problems[0].column) == (413, 3, "message")
