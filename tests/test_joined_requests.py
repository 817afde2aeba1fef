"""Requests that are scored together have the predictions, and the errors, that each of them has alone."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError
from fusionzoo.server import request_queue
from fusionzoo.server.joined_rows import join_rows
from fusionzoo.server.media_types import InputType, choose_output_type, parse_input_type
from fusionzoo.server.outcome import capture
from fusionzoo.server.request_answers import PredictionRequest, RequestAnswers
from fusionzoo.server.scoring_service import ScoredRequest
from serve_helpers import CSV, JSON, JSONL, PARQUET, ROWS, Server, encode

RECORD = {"message": "late broken", "country": "de", "price": 3, "visits": 1}
CHANGES: list[dict[str, Any]] = [
    *({}, {"price": 3.5}, {"price": "3"}, {"price": None}, {"message": None}, {"visits": True}, {"country": 7}),
    *({"id": 5}, dict.fromkeys(RECORD)),
]
VALID: list[tuple[bytes, str]] = [
    *((encode(ROWS[i : i + 1], content_type), content_type) for i in range(3) for content_type in (CSV, JSON, PARQUET)),
    (encode(ROWS, JSONL), JSONL),
    (encode(ROWS[3:5], CSV), CSV),
    (b"awful,fr,2.5,9\n", CSV),
    *((json.dumps({**RECORD, **change}).encode(), JSON) for change in CHANGES),
]
INVALID: list[tuple[bytes, str]] = [
    (b"", CSV),
    (b"awful,fr,x,9\n", CSV),
    (b"{", JSON),
    (b"message\nlate\n", CSV),
    (json.dumps({**RECORD, "price": 1e39}).encode(), JSON),
    (json.dumps({**RECORD, "visits": [1]}).encode(), JSON),
]


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def parse(requests: list[tuple[bytes, str]]) -> list[tuple[bytes, InputType]]:
    return [(body, parse_input_type(content_type, None)) for body, content_type in requests]


def describe(outcome: ScoredRequest | Exception) -> dict[str, Any]:
    """Return what a client sees."""
    if isinstance(outcome, Exception):
        return {"error": type(outcome), "message": str(outcome)}
    tables = [pa.Table.from_batches(block.batches(block.schema())) for block in outcome.blocks]
    return {
        "records": [record for table in tables for record in table.to_pylist()],
        "flags": (outcome.has_ids, outcome.has_header, outcome.format),
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_outcome_of_a_request_does_not_depend_on_the_others(server: Server, seed: int) -> None:
    requests = parse(VALID + INVALID[: 2 * seed])
    random.Random(seed).shuffle(requests)
    outcomes = server.service.score_all(requests)
    for request, outcome in zip(requests, outcomes, strict=True):
        together, alone = describe(outcome), describe(capture(partial(server.service.score, *request)))
        assert together.keys() == alone.keys(), request
        for one, other in zip(together.pop("records", []), alone.pop("records", []), strict=True):
            assert one == pytest.approx(other, abs=1e-6, nan_ok=True), request
        assert together == alone


def test_requests_with_columns_of_the_same_types_run_as_one_batch(server: Server) -> None:
    requests = parse([(json.dumps({**RECORD, "price": price}).encode(), JSON) for price in (1, 2, None, 4)])
    server.session.batches.clear()
    server.service.score_all(requests)
    assert sum(rows for rows, _ in server.session.batches) == 4
    assert len(server.session.batches) == 1


def test_a_row_that_the_model_cannot_score_fails_alone() -> None:
    server = Server()
    rows = parse([(json.dumps({**RECORD, "price": price}).encode(), JSON) for price in (1, 2, 3)])
    server.session.scores = lambda count: np.full((count, 2), np.nan if count == 3 else 0.5, np.float32)
    outcomes = server.service.score_all(rows)
    assert [type(outcome) for outcome in outcomes] == [ScoredRequest] * 3, "only the batch of three rows has no score"


def test_rows_are_joined_by_the_types_of_their_columns() -> None:
    blocks = [
        Rows({"a": values, "b": pa.array(["x"] * len(values))}, "request", 1, typed)
        for values, typed in (
            (pa.array([1, 2]), True),
            (pa.array([1.5]), True),
            (pa.nulls(1), True),
            (pa.array([3]), True),
            (pa.array(["1"]), False),
            (pa.array(["2"]), False),
            (pa.array(["3"]), True),
        )
    ]
    joined = list(join_rows(blocks, ["a", "b"]))
    assert [part.indices for part in joined] == [[0, 2, 3], [4, 5]], "1.5 and the typed '3' have no partner"
    assert joined[0].rows.columns["a"].to_pylist() == [1, 2, None, 3]
    assert [part.rows.typed for part in joined] == [True, False]


def test_requests_that_wait_for_one_another_have_their_own_responses(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one request is scored, eight others arrive, one of which is not valid; then they are scored together."""
    server = Server(concurrency=1)
    monkeypatch.setattr(request_queue, "NEW_WEIGHT", 0.0)
    monkeypatch.setattr(request_queue, "GROUP_SECONDS", 1.0)  # the first estimate is 0.02 s for a request
    answers, started, finish = RequestAnswers(server.service), threading.Event(), threading.Event()
    monkeypatch.setattr(answers._queue, "_seconds", 0.02)

    def wait(rows: int) -> np.ndarray:
        started.set()
        assert finish.wait(30)
        return np.full((rows, 2), 0.5, np.float32)

    server.session.scores = wait
    bodies = [encode(ROWS[i : i + 1], JSON) for i in range(8)]
    bodies[5] = json.dumps({**RECORD, "price": "x"}).encode()
    kind, output = parse_input_type(JSON, None), choose_output_type(JSON, "json")
    with ThreadPoolExecutor(9) as pool:
        first = pool.submit(answers.answer, PredictionRequest(encode(ROWS, JSON), kind, output))
        assert started.wait(30)
        others = [pool.submit(answers.answer, PredictionRequest(body, kind, output)) for body in bodies]
        deadline = time.monotonic() + 30
        while len(answers._queue._waiting) < 8 and time.monotonic() < deadline:
            time.sleep(0.001)
        server.session.scores = None
        server.session.batches.clear()
        finish.set()
    assert first.result().rows == len(ROWS)
    assert max(rows for rows, _ in server.session.batches) > 1
    expected = server.expect(ROWS[:8])
    for i, future in enumerate(others):
        if i == 5:
            with pytest.raises(DataError, match="price"):
                future.result()
            continue
        (record,) = json.loads(future.result().content)["predictions"]
        assert record["prob_1"] == pytest.approx(expected[i]["prob_1"], abs=1e-6)
        assert record["predicted_target"] == expected[i]["predicted_target"]
