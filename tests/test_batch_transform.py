"""Batch transform: what SageMaker does with the lines of a file before and after the server scores them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.server.media_types import parse_input_type
from fusionzoo.server.request_rows import RequestReader
from fusionzoo.server.server_limits import ServerLimits
from predictor_helpers import make_predictor
from serve_helpers import FEATURES, JSONL, ROWS, Server

PAGE = (Path(__file__).parents[1] / "docs/serving.md").read_text("utf-8")
(EXAMPLE,) = re.findall(r"```json\n({\n  \"BatchStrategy.*?)```", PAGE, re.DOTALL)
EXAMPLE_JOB = json.loads(EXAMPLE)
RECORDS_PER_REQUEST = {"SingleRecord": 1, "MultiRecord": 5}  # the last request of 12 records has fewer
CLASSES = ["prob_0", "prob_1", "predicted_target"]


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


def make_job(media_type: str, strategy: str = "MultiRecord", **processing: str) -> dict[str, Any]:
    """Return the arguments of a job that are read here."""
    return {
        "BatchStrategy": strategy,
        "TransformInput": {"ContentType": media_type},
        "TransformOutput": {"Accept": media_type},
        "DataProcessing": {"JoinSource": "Input", **processing},
    }


def transform(server: Server, job: dict[str, Any], content: str) -> str:
    """Return the output file for an input file, with `SplitType` and `AssembleWith` "Line".

    As https://docs.aws.amazon.com/sagemaker/latest/dg/batch-transform-data-processing.html describes: each line is
    filtered, scored with others in a request, joined with its line of the response, and filtered again.
    """
    content_type, accept = job["TransformInput"]["ContentType"], job["TransformOutput"]["Accept"]
    filters = {"InputFilter": "$", "OutputFilter": "$", **job["DataProcessing"]}
    assert filters["JoinSource"] == "Input"
    records, size = content.rstrip("\n").split("\n"), RECORDS_PER_REQUEST[job["BatchStrategy"]]
    written = []
    for start in range(0, len(records), size):
        inputs = [parse(line, content_type) for line in records[start : start + size]]
        body = "\n".join(render(select(value, filters["InputFilter"])) for value in inputs)
        response = server.post(body, content_type, Accept=accept)
        assert response.status_code == 200, response.text
        outputs = [parse(line, accept) for line in response.text.rstrip("\n").split("\n")]
        joined = [join(*pair) for pair in zip(inputs, outputs, strict=True)]
        written += [render(select(value, filters["OutputFilter"])) for value in joined]
    return "\n".join(written)


def parse(line: str, media_type: str) -> Any:
    return next(csv.reader([line])) if media_type.startswith("text/csv") else json.loads(line)


def render(value: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(value)
    return stream.getvalue()


def join(record: Any, output: Any) -> Any:
    return {**record, "SageMakerOutput": output} if isinstance(record, dict) else [*record, *output]


def select(value: Any, path: str) -> Any:
    """Return what a JSONPath selects: all, one key, several keys, several items or a slice."""
    if path == "$":
        return value
    if key := re.fullmatch(r"\$\.(\w+)", path):
        return value[key[1]]
    if keys := re.fullmatch(r"\$\[('\w+'(?:,'\w+')*)\]", path):
        return {name: value[name] for name in keys[1].replace("'", "").split(",")}
    if part := re.fullmatch(r"\$\[(-?\d*):(-?\d*)\]", path):
        return value[slice(*(int(text) if text else None for text in part.groups()))]
    return [value[int(index)] for index in path.removeprefix("$[").removesuffix("]").split(",")]


def predictions(server: Server) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield each row with its prediction."""
    yield from zip(ROWS.to_dict("records"), server.expect(ROWS), strict=True)


@pytest.mark.parametrize("strategy", RECORDS_PER_REQUEST)
def test_the_job_in_the_docs_joins_each_row_of_csv_with_its_prediction(server: Server, strategy: str) -> None:
    rows = ROWS.assign(note=[f"note, {i}" for i in range(len(ROWS))])[["note", "id", *FEATURES]]
    written = transform(server, {**EXAMPLE_JOB, "BatchStrategy": strategy}, rows.to_csv(index=False, header=False))
    records = list(csv.reader(io.StringIO(written)))
    for i, (record, (row, expected)) in enumerate(zip(records, predictions(server), strict=True)):
        assert record[:2] == [f"note, {i}", row["id"]]
        assert [float(value) for value in record[2:]] == pytest.approx([expected[name] for name in CLASSES], abs=1e-6)


def test_without_header_absent_a_row_with_the_name_of_a_column_would_be_a_header(server: Server) -> None:
    lines = f"n,1,price,de,1,2\n{ROWS[['id', 'id', *FEATURES]].to_csv(index=False, header=False)}"
    assert len(transform(server, EXAMPLE_JOB, lines).split("\n")) == len(ROWS) + 1
    assert server.post("1,price,de,1,2\n2,late,de,1,2", "text/csv").status_code == 422


@pytest.mark.parametrize("rows", [["message", "late"], ["late", "message"], ["id,message", "1,late"]])
def test_with_header_absent_a_row_like_the_header_is_a_row_in_any_position(rows: list[str]) -> None:
    predictor, _ = make_predictor(tab_field_list=[], cat_field_list=[])
    reader = RequestReader(predictor.preprocessor.settings, ServerLimits())
    read = reader.read("\n".join(rows).encode(), parse_input_type("text/csv; header=absent", None))
    texts = [text for block in read.blocks for text in block.columns["message"].to_pylist()]
    assert texts == [row.rpartition(",")[2] for row in rows]


@pytest.mark.parametrize("strategy", RECORDS_PER_REQUEST)
@pytest.mark.parametrize("is_nested", [False, True])
def test_json_lines_hold_their_prediction(server: Server, is_nested: bool, strategy: str) -> None:
    lines = ROWS.to_json(orient="records", lines=True)
    job = make_job(JSONL, strategy, OutputFilter="$['id','SageMakerOutput']")
    if is_nested:
        nested = [{"id": row["id"], "features": row} for row in map(json.loads, lines.splitlines())]
        lines, job["DataProcessing"]["InputFilter"] = "\n".join(map(json.dumps, nested)), "$.features"
    written = [json.loads(line) for line in transform(server, job, lines).split("\n")]
    for record, (row, expected) in zip(written, predictions(server), strict=True):
        assert record["id"] == record["SageMakerOutput"]["id"] == row["id"]
        scores = [record["SageMakerOutput"][name] for name in CLASSES]
        assert scores == pytest.approx([expected[name] for name in CLASSES], abs=1e-6)


def test_a_wrong_row_fails_its_request_and_so_the_job(server: Server) -> None:
    lines = ROWS.assign(price="x")[["id", "id", *FEATURES]].to_csv(index=False, header=False)
    with pytest.raises(AssertionError, match="price"):
        transform(server, EXAMPLE_JOB, lines)
