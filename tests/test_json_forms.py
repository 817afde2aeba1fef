"""JSON in the form of another server, or under the Content-Type of CSV, is named as such instead of being scored."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from predictor_helpers import make_predictor
from serve_helpers import CSV, JSON, JSONL, Server, read_error

ROW = {"message": "late", "country": "de", "price": 3, "visits": 1}
NAMES, VALUES = list(ROW), list(ROW.values())
COLUMNS = {name: [value] for name, value in ROW.items()}
TSV = "text/tab-separated-values"


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


@pytest.fixture(scope="module")
def text_server() -> Server:
    """A server of a model that reads a single column, with texts."""
    frame = pd.DataFrame({"id": ["1", "2"] * 20, "message": ["fine", "late"] * 20, "target": [0, 1] * 20})
    predictor, session = make_predictor(frame=frame, cat_field_list=[], tab_field_list=[])
    session.scores = lambda rows: np.full((rows, 2), 0.5, np.float32)
    return Server(predictor)


@pytest.mark.parametrize("media_type", [CSV, TSV, f"{CSV}; header=absent"])
@pytest.mark.parametrize(
    "document", [{"instances": [{"message": "late"}]}, {"message": "late"}, [{"message": "late"}], {"inputs": "late"}]
)
@pytest.mark.parametrize("indent", [None, 1])
def test_json_is_not_scored_as_the_texts_of_delimited_rows(
    text_server: Server, document: Any, media_type: str, indent: int | None
) -> None:
    body = json.dumps(document, indent=indent)
    assert read_error(text_server.post(body, media_type), 400)["code"] == "FZ-H032"
    lines = "\n".join([json.dumps(document)] * 2)
    assert read_error(text_server.post(f"\ufeff{lines}\n", media_type), 400)["code"] == "FZ-H032"


@pytest.mark.parametrize("text", ["[late]", "{}", "[]", "{late}", '{"a": 1}', "[1]", '"{""message"": ""late""}"'])
def test_a_text_that_only_looks_like_json_is_scored(text_server: Server, text: str) -> None:
    response = text_server.post(f"{text}\n", f"{CSV}; header=absent")
    assert response.status_code == 200, response.text
    assert response.data.count(b"\n") == 1


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ({"columns": NAMES, "data": [VALUES]}, "FZ-H034"),
        ({"columns": NAMES, "index": [0], "data": [VALUES]}, "FZ-H034"),
        ({name: {"0": value} for name, value in ROW.items()}, "FZ-H034"),
        (COLUMNS, "FZ-H034"),
        ({"instances": COLUMNS}, "FZ-H034"),
        ({"inputs": COLUMNS}, "FZ-H034"),
        ({"dataframe_split": {"columns": NAMES, "data": [VALUES]}}, "FZ-H035"),
        ({"dataframe_records": [ROW]}, "FZ-H035"),
        ({"data": [ROW]}, "FZ-H035"),
        ({"instance": ROW}, "FZ-H035"),
        ({"inputs": "late"}, "FZ-H035"),
        ({"instances": [{"features": ROW}]}, "FZ-H035"),
        (json.dumps({"instances": [ROW]}), "FZ-H033"),
        (json.dumps([ROW]), "FZ-H033"),
    ],
)
def test_json_of_another_server_is_named_and_gets_a_fix(server: Server, document: Any, code: str) -> None:
    error = read_error(server.post(json.dumps(document), JSON), 400)
    assert error["code"] == code
    assert "with nulls" not in error["fix"]


@pytest.mark.parametrize("rows", [[VALUES], [VALUES, VALUES], ["late", "fine"], [3, None]])
def test_rows_without_the_names_of_columns_get_a_fix_with_the_form_to_send(server: Server, rows: list[Any]) -> None:
    requests = [(json.dumps(document), JSON) for document in (rows, {"instances": rows}, {"inputs": rows})]
    for body, media_type in [*requests, (json.dumps(rows[0]), JSONL)]:
        error = read_error(server.post(body, media_type), 400)
        assert error["code"] == "FZ-H034", error
        assert "values without the names of their columns" in error["message"]
        assert error["problems"][0]["row"] == 1
        assert error["fix"].startswith('send {"instances": [{"column": value}]}')


def test_a_single_row_that_is_no_object_is_named_as_a_row(server: Server) -> None:
    error = read_error(server.post(json.dumps({"instances": [ROW, VALUES]}), JSON), 400)
    assert (error["code"], [problem["row"] for problem in error["problems"]]) == ("FZ-H013", [2])


def test_a_document_that_is_sent_as_json_lines_is_named(server: Server) -> None:
    error = read_error(server.post(json.dumps({"instances": [ROW]}), JSONL), 400)
    assert (error["code"], error["fix"]) == ("FZ-H036", "send it with Content-Type: application/json.")


def test_keys_that_the_model_does_not_know_are_still_ignored(server: Server) -> None:
    row = {**ROW, "features": [1, 2], "data": {"a": 1}}
    assert server.post(json.dumps(row), JSONL).status_code == 200
    assert server.post(json.dumps({"instances": [row]}), JSON).status_code == 200


def test_a_row_without_any_column_still_names_the_columns(server: Server) -> None:
    assert read_error(server.post('{"kind": "red"}', JSONL), 422)["code"] == "FZ-O221"
    assert read_error(server.post('{"Message": ["late"]}', JSONL), 422)["code"] == "FZ-O221"
