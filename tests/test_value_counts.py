"""Missing values, new categories and clipped numbers of requests are counted exactly, and cannot fill the log."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_helpers import make_rows
from fusionzoo.integrations.mlflow import PyFuncPredictor
from fusionzoo.server.media_types import parse_input_type
from fusionzoo.serving.value_counts import ValueCounts
from predictor_helpers import make_predictor
from serve_helpers import CSV, JSON, Server, read_error
from shop import shop_rows

RECORD = {"message": "late broken", "country": "de", "price": 3, "visits": 1}
UNUSUAL: list[dict[str, Any]] = [
    {"price": 1e30, "country": "atlantis"},
    {"price": -1e30, "visits": None},
    {"price": 1e30, "visits": -1e30},
    {"price": None, "country": None},
    {},
]
EXPECTED = {
    ("price", "clipped"): 3,
    ("price", "missing"): 1,
    ("visits", "clipped"): 1,
    ("visits", "missing"): 1,
    ("country", "unknown"): 1,
    ("country", "missing"): 1,
}
SERIES = "fusionzoo_unusual_values_total"


def encode_rows(changes: list[dict[str, Any]]) -> bytes:
    return json.dumps([{**RECORD, **change} for change in changes]).encode()


def read_metrics(server: Server) -> dict[tuple[str, str], float]:
    """Return the values of the counter by column and kind."""
    lines = [line for line in server.client.get("/metrics").text.splitlines() if line.startswith(f"{SERIES}{{")]
    return {(column, kind): float(line.split()[-1]) for line in lines for column, kind in [line.split('"')[1::2]]}


def test_metrics_count_the_unusual_values_of_each_column() -> None:
    server = Server()
    assert read_metrics(server) == {}, "the row of the warm-up is not one of a client"
    for repetition in (1, 2):
        assert server.post(encode_rows(UNUSUAL), JSON).status_code == 200
        assert read_metrics(server) == {key: repetition * count for key, count in EXPECTED.items()}


def test_a_request_with_a_wrong_value_is_not_counted() -> None:
    server = Server()
    read_error(server.post(b"message,country,price,visits\na,atlantis,1e30,x\n", CSV), 422)
    assert read_metrics(server) == {}


def test_values_count_once_if_requests_are_scored_together_and_then_alone() -> None:
    server = Server()
    kind = parse_input_type(JSON, None)
    requests = [(encode_rows([change]), kind) for change in UNUSUAL]
    requests += [(encode_rows([{"message": None, "price": price}]), kind) for price in ("1e30", "3")]
    sizes: list[int] = []

    def fail_second_group(rows: int) -> np.ndarray:
        sizes.append(rows)
        return np.full((rows, 2), np.nan if len(sizes) == 2 else 0.5, np.float32)

    server.session.scores = fail_second_group
    server.service.score_all(requests)
    assert sizes[0] > 1, "the first group was scored together"
    assert sum(sizes) > len(requests), "and again alone"
    assert read_metrics(server) == {**EXPECTED, ("price", "clipped"): 4}


def test_clients_cannot_fill_the_log_with_clipped_numbers(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert server.post(encode_rows(UNUSUAL), JSON).status_code == 200
    assert Counter(
        column for column in ("price", "visits") for record in caplog.records if column in record.message
    ) == {
        "price": 1,
        "visits": 1,
    }
    assert "75.00% of the values of number column 'price'" in caplog.text


def test_clients_of_mlflow_cannot_fill_the_log_either(caplog: pytest.LogCaptureFixture) -> None:
    model = PyFuncPredictor(make_predictor()[0])
    for _ in range(20):
        assert len(model.predict(pd.DataFrame([{**RECORD, "price": 1e30}]))) == 1
    assert len(caplog.records) == 1


def test_counts_of_blocks_are_added_up_instead_of_logged(caplog: pytest.LogCaptureFixture) -> None:
    predictor, _ = make_predictor()
    frame = shop_rows(6, 9).assign(
        price=[1.0, 1e30, None, 1.0, 1.0, -1e30], country=["de", "zz", "zz", None, "de", "de"]
    )
    rows, counts = make_rows(frame), ValueCounts()
    for _ in range(2):
        list(predictor.predict_blocks([rows.slice(0, 2), rows.slice(2, 6)], counts=counts))
    assert counts.rows == 12
    assert {key: count for key, count in counts.values.items() if key[0] in ("price", "country")} == {
        ("price", "clipped"): 4,
        ("price", "missing"): 2,
        ("country", "unknown"): 4,
        ("country", "missing"): 2,
    }
    assert caplog.records == []
    assert "40.00%" in counts.warn_of_clipping("rows")["price"]
