"""curl, requests and urllib against `fusionzoo serve`: formats, Accept, order, and the joins of batch transform."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import requests

from prediction_helpers import read_test_rows
from serve_helpers import CSV, FEATURES, JSON, JSONL, PARQUET, encode
from server_process import RunningServer
from shop import JobFolder

TSV = "text/tab-separated-values"


@dataclass(frozen=True)
class Answer:
    """The response to one request."""

    status: int
    content_type: str
    body: bytes


Client = Callable[[str, bytes, Mapping[str, str], Path], Answer]


def send_with_curl(url: str, body: bytes, headers: Mapping[str, str], folder: Path) -> Answer:
    (folder / "body").write_bytes(body)
    options = [option for name, value in headers.items() for option in ("-H", f"{name}: {value}")]
    output = ["-o", str(folder / "answer"), "-w", "%{http_code} %{content_type}"]
    command = ["curl", "-sS", "--data-binary", f"@{folder / 'body'}", *options, *output, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    status, content_type = done.stdout.split(" ", 1)
    return Answer(int(status), content_type, (folder / "answer").read_bytes())


def send_with_requests(url: str, body: bytes, headers: Mapping[str, str], _: Path) -> Answer:
    response = requests.post(url, data=body, headers=headers, timeout=60)
    return Answer(response.status_code, response.headers["Content-Type"], response.content)


def send_with_requests_in_chunks(url: str, body: bytes, headers: Mapping[str, str], folder: Path) -> Answer:
    parts = (body[start : start + 1000] for start in range(0, len(body), 1000))
    response = requests.post(url, data=parts, headers=headers, timeout=60)  # a generator is sent in chunks
    return Answer(response.status_code, response.headers["Content-Type"], response.content)


def send_with_urllib(url: str, body: bytes, headers: Mapping[str, str], _: Path) -> Answer:
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, body, dict(headers)), timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    with response:
        return Answer(response.status, response.headers["Content-Type"], response.read())


@pytest.fixture(params=["curl", "requests", "requests in chunks", "urllib"])
def client(request: pytest.FixtureRequest) -> Client:
    if request.param == "curl" and shutil.which("curl") is None:
        pytest.skip("this machine has no curl, which cannot be installed with pip")
    clients = {
        "curl": send_with_curl,
        "requests": send_with_requests,
        "requests in chunks": send_with_requests_in_chunks,
        "urllib": send_with_urllib,
    }
    return clients[request.param]


@pytest.fixture(scope="module")
def rows(trained_job: JobFolder) -> pd.DataFrame:
    return read_test_rows(trained_job)


def encode_rows(rows: pd.DataFrame, content_type: str) -> bytes:
    return rows.to_csv(index=False, sep="\t").encode() if content_type == TSV else encode(rows, content_type)


def read_records(answer: Answer) -> list[dict[str, Any]]:
    """Return the records of an answer with status 200, whose CSV has a header."""
    assert answer.status == 200, answer.body
    if answer.content_type.startswith(JSONL):
        return [json.loads(line) for line in answer.body.splitlines()]
    if answer.content_type.startswith(JSON):
        return list(json.loads(answer.body)["predictions"])
    return list(pd.read_csv(io.BytesIO(answer.body), dtype={"id": str, "model_version": str}).to_dict("records"))


@pytest.fixture(scope="module")
def expected(running_server: RunningServer, rows: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    """The records for the rows one by one: no format, and no other row, may change them."""
    url, folder = f"http://127.0.0.1:{running_server.port}/invocations", tmp_path_factory.mktemp("expected")
    headers = {"Content-Type": JSON, "Accept": JSON}
    answers = [
        send_with_urllib(url, row.encode(), headers, folder) for row in encode(rows, JSONL).decode().splitlines()
    ]
    return [read_records(answer)[0] for answer in answers]


@pytest.mark.parametrize("accept", [JSON, JSONL, f"{CSV}; header=present"])
@pytest.mark.parametrize("content_type", [CSV, TSV, JSON, JSONL, PARQUET])
def test_every_client_gets_one_record_per_row_in_order_in_every_format(
    running_server: RunningServer,
    client: Client,
    rows: pd.DataFrame,
    expected: list[dict[str, Any]],
    content_type: str,
    accept: str,
    tmp_path: Path,
) -> None:
    url = running_server.invocations
    body, headers = encode_rows(rows, content_type), {"Content-Type": content_type, "Accept": accept}
    if client is not send_with_requests_in_chunks:
        body, headers = gzip.compress(body), headers | {"Content-Encoding": "gzip"}
    answer = client(url, body, headers, tmp_path)
    records = read_records(answer)
    assert answer.content_type == f"{accept.partition(';')[0]}; charset=utf-8"
    assert [record["id"] for record in records] == rows["id"].tolist()
    for record, single in zip(records, expected, strict=True):
        assert record["predicted_target"] == single["predicted_target"]
        assert record["prob_1"] == pytest.approx(single["prob_1"], abs=1e-6)


@pytest.mark.parametrize(
    ("accept", "expected_type"),
    [
        ("text/csv;q=0.2, application/json;q=0.9", JSON),
        ("application/jsonlines; charset=UTF-8, */*;q=0.1", JSONL),
        ("text/html, application/xhtml+xml, */*;q=0.8", CSV),
        ("application/json;q=0, */*;q=0.5", CSV),
    ],
)
def test_every_client_chooses_with_quality_values(
    running_server: RunningServer, client: Client, rows: pd.DataFrame, accept: str, expected_type: str, tmp_path: Path
) -> None:
    url = running_server.invocations
    answer = client(url, encode(rows, CSV), {"Content-Type": CSV, "Accept": accept}, tmp_path)
    assert answer.content_type.startswith(expected_type), answer
    assert answer.status == 200


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (CSV, b"message,country,price,visits\na,de,cheap,2\n", 422),
        (JSON, b"{", 400),
        ("image/png", b"x" * 900_000, 415),
        (CSV, b"a,de,1,2\n" * 400_000, 413),
    ],
)
def test_every_client_sees_the_error_of_its_request(
    running_server: RunningServer, client: Client, content_type: str, body: bytes, status: int, tmp_path: Path
) -> None:
    answer = client(
        f"http://127.0.0.1:{running_server.port}/invocations", body, {"Content-Type": content_type}, tmp_path
    )
    assert answer.status == status, answer.body
    assert json.loads(answer.body)["error"]["fix"]


def test_the_records_of_a_batch_transform_join_the_lines_of_its_file(
    running_server: RunningServer, client: Client, rows: pd.DataFrame, tmp_path: Path
) -> None:
    """SplitType Line, BatchStrategy MultiRecord, AssembleWith Line, JoinSource Input: lines are joined by position."""
    url, headers = running_server.invocations, {"Content-Type": CSV, "Accept": CSV}
    lines = rows[["id", *FEATURES]].to_csv(index=False, header=False).splitlines(keepends=True)
    batches = ["".join(lines[start : start + 7]) for start in range(0, len(lines), 7)]
    answers = [client(url, batch.encode(), headers, tmp_path) for batch in batches]
    assembled = b"".join(answer.body for answer in answers).decode().splitlines()
    assert len(assembled) == len(lines)
    joined = [f"{line.strip()},{record}".split(",") for line, record in zip(lines, assembled, strict=True)]
    assert [row[0] for row in joined] == [row[5].strip('"') for row in joined] == rows["id"].tolist()
    assert all(answer.status == 200 for answer in answers)
