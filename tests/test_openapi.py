"""GET /openapi.json describes what the server really does: its paths, formats, columns, limits and errors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import checks

from fusionzoo.server.openapi_document import make_example_row
from fusionzoo.server.routes import INVOKE_ERRORS, ROUTES, STATUSES
from predictor_helpers import make_predictor
from serve_helpers import CSV, FEATURES, JSON, Server, decode
from shop import shop_rows

PYTHON_TYPES = {"integer": int, "number": (int, float), "string": str, "boolean": bool, "array": list}
DOCS = Path(__file__).parents[1] / "docs/serving.md"


def read_document(server: Server) -> dict[str, Any]:
    response = server.client.get("/openapi.json")
    assert response.content_type == JSON
    return dict(json.loads(response.data))


def test_the_document_has_every_path_of_the_application_and_nothing_else() -> None:
    server = Server()
    rules = {
        (rule.rule, *(rule.methods or set()) - {"HEAD", "OPTIONS"}) for rule in server.application.url_map.iter_rules()
    }
    paths = read_document(server)["paths"]
    assert {(path, *(method.upper() for method in methods)) for path, methods in paths.items()} == rules
    assert rules == {(route.path, route.method) for route in ROUTES}


def test_the_docs_have_every_path_and_every_status() -> None:
    text = DOCS.read_text("utf-8")
    assert [route.path for route in ROUTES if f"| `{route.method} {route.path}` |" not in text] == []
    rows = re.findall(r"^\| ([\d, ]+) \|", text, re.M)
    documented = {int(status) for row in rows for status in row.split(", ")}
    assert {*STATUSES} - {200} <= documented
    assert {*INVOKE_ERRORS} <= {*STATUSES}


def test_every_example_of_a_request_is_scored() -> None:
    server = Server()
    (expected,) = server.predictor.predict_proba([make_example_row(server.service)])
    content = read_document(server)["paths"]["/invocations"]["post"]["requestBody"]["content"]
    for media_type, described in content.items():
        if "example" in described:
            example = described["example"]
            body = example if isinstance(example, str) else json.dumps(example)
            (record,) = decode(server.post(body, media_type, Accept=JSON))
            assert record["prob_0"] == pytest.approx(expected[0])
    assert sum("example" in described for described in content.values()) == 3


def make_server(task: str) -> Server:
    frame = shop_rows(80).assign(weight=lambda rows: rows["visits"] * 2.5, red=1, blue=[0, 1] * 40)
    if task == "classification":
        return Server()
    labels: dict[str, Any] = {"regression": "weight", "multilabel": ["red", "blue"]}
    predictor, session = make_predictor(frame=frame, task=task, label_name=labels[task], num_classes=None)
    outputs = predictor.preprocessor.target.num_outputs
    session.scores = lambda rows: np.full((rows, outputs), 0.25, np.float32)
    return Server(predictor)


@pytest.mark.parametrize("task", ["classification", "regression", "multilabel"])
def test_a_record_has_the_names_and_types_of_the_document(task: str) -> None:
    server = make_server(task)
    described = read_document(server)["components"]["schemas"]["Record"]
    (record,) = decode(server.post(json.dumps(make_example_row(server.service)), JSON))
    assert [*record] == described["required"] == [*described["properties"]]
    for name, value in record.items():
        assert isinstance(value, PYTHON_TYPES[described["properties"][name]["type"]]), name


def test_the_document_has_the_roles_of_the_columns_and_the_limits() -> None:
    document = read_document(Server(max_rows=7, max_text_length=99))
    row = document["components"]["schemas"]["Row"]
    roles = {name: column["x-role"] for name, column in row["properties"].items()}
    assert roles == {"message": "text", "country": "category", "price": "number", "visits": "number", "id": "id"}
    assert row["required"] == FEATURES
    assert row["properties"]["message"]["maxLength"] == 99
    forms = document["paths"]["/invocations"]["post"]["requestBody"]["content"][JSON]["schema"]["anyOf"]
    assert forms[0]["properties"]["instances"]["maxItems"] == 7


def test_names_that_need_quotes_are_quoted_in_the_csv_example() -> None:
    name = 'the "price", in EUR'
    predictor, _ = make_predictor(frame=shop_rows(80).rename(columns={"price": name}), tab_field_list=[name, "visits"])
    server = Server(predictor)
    example = read_document(server)["paths"]["/invocations"]["post"]["requestBody"]["content"][CSV]["example"]
    assert len(decode(server.post(example, CSV, Accept=JSON))) == 1


CONFORMANCE = ("not_a_server_error", "status_code_conformance", "content_type_conformance")
CONFORMANCE += ("response_headers_conformance", "response_schema_conformance")
REQUESTS = 40 * int(os.environ.get("FUZZ_FACTOR", "1"))  # in each mode


@pytest.mark.parametrize("mode", [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE])
def test_every_response_is_as_described_to_requests_that_are_and_are_not(mode: schemathesis.GenerationMode) -> None:
    server = Server(max_rows=3, max_text_length=40)  # low, so that requests are small
    checks.load_all_checks()
    chosen = [checks.CHECKS.get_one(name) for name in CONFORMANCE]
    operation = schemathesis.openapi.from_wsgi("/openapi.json", server.application)["/invocations"]["POST"]
    statuses = set()

    @settings(max_examples=REQUESTS, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def check(case: Any) -> None:
        response = case.call()
        statuses.add(response.status_code)
        case.validate_response(response, checks=chosen)

    check()
    assert statuses & ({200} if mode == schemathesis.GenerationMode.POSITIVE else {400, 413, 422})
