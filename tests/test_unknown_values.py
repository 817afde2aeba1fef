"""Rows to score whose categories or words train does not have cause a warning, as a val channel with them does."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cli_helpers import invoke
from fusionzoo.integrations.mlflow import PyFuncPredictor
from predictor_helpers import make_predictor
from serve_helpers import JSON, Server, encode
from shop import JobFolder, shop_rows

FRAME = shop_rows(20, seed=5).drop(columns="target")
CATEGORIES, TOKENS = "of the values of category column 'country' are UNKNOWN", "of the tokens are unknown"
OTHER_LANGUAGE = "zu spät geliefert"


def warn(frame: pd.DataFrame, caplog: pytest.LogCaptureFixture, kind: str = "frame") -> str:
    """Return the warnings about these rows."""
    predictor, _ = make_predictor()
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        predictor.predict(frame if kind == "frame" else frame.to_dict("records"))
    return caplog.text


def test_known_values_cause_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert warn(FRAME, caplog) == ""


@pytest.mark.parametrize("kind", ["frame", "records"])
@pytest.mark.parametrize("country", [" DE", "00001", True, 3.5])
def test_unknown_categories_cause_a_warning(country: Any, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    text = warn(FRAME.assign(country=country), caplog, kind)
    assert f"rows: 100.0% {CATEGORIES}" in text
    assert TOKENS not in text


@pytest.mark.parametrize("kind", ["frame", "records"])
def test_unknown_words_cause_a_warning(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    text = warn(FRAME.assign(message=OTHER_LANGUAGE), caplog, kind)
    assert f"rows: 100.0% {TOKENS}" in text
    assert "choose a tokenizer" not in text, "the model has one"
    assert CATEGORIES not in text


def test_missing_values_are_not_unknown_ones(caplog: pytest.LogCaptureFixture) -> None:
    assert warn(FRAME.assign(message=None, country=None), caplog) == ""
    half = FRAME.assign(country=np.where(FRAME.index < 10, None, "zz"))
    assert f"100.0% {CATEGORIES}" in warn(half, caplog)


def test_a_few_rows_with_new_values_cause_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert warn(FRAME.head(9).assign(country="zz", message=OTHER_LANGUAGE), caplog) == ""
    assert warn(FRAME.assign(country=np.where(FRAME.index < 12, None, "zz")), caplog) == ""
    assert warn(FRAME.assign(country=np.where(FRAME.index < 5, "zz", FRAME["country"])), caplog) == ""


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_the_commands_show_the_warnings(
    command: str, trained_job: JobFolder, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    rows = shop_rows(20, seed=5).assign(country="DE ", message=OTHER_LANGUAGE)
    rows.to_csv(tmp_path / "rows.csv", index=False)
    output = str(tmp_path / ("out" if command == "evaluate" else "out.csv"))
    with caplog.at_level(logging.WARNING):
        done = invoke(
            command, "--model", str(trained_job.model), "--input", str(tmp_path / "rows.csv"), "--output", output
        )
    assert done.exit_code == 0, done.output
    assert CATEGORIES in caplog.text
    assert TOKENS in caplog.text


def test_a_server_and_mlflow_log_unknown_values_once_per_column(caplog: pytest.LogCaptureFixture) -> None:
    rows = FRAME.assign(country="DE ", message=OTHER_LANGUAGE)
    server, model = Server(), PyFuncPredictor(make_predictor()[0])
    for score in (lambda: server.post(encode(rows, JSON), JSON), lambda: model.predict(rows)):
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                score()
        assert (caplog.text.count(CATEGORIES), caplog.text.count(TOKENS)) == (1, 1)
