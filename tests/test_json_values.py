"""Values of JSON that Arrow, Python or UTF-8 cannot hold: an id leaves as it came in, and no id becomes another one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fusionzoo.errors import DataError
from fusionzoo.serving.predictor import Predictor
from prediction_helpers import predict
from serve_helpers import CSV, JSON, JSONL, Server, decode, read_error
from shop import JobFolder

ROW = {"message": "late", "country": "de", "price": 1.5, "visits": 2}
IDS: list[list[Any]] = [
    [1, 2.5],
    [1, "1", 1.0, True, None, ""],
    [2**64 - 1, 1],
    [2**63, 1, None],
    [2**64 - 1, -1],
    [2**70, -(2**70), 10**500],
    [2**53 + 1, 0.5],
    ["\ud800", "\udfff", "?", "\ud83d end", "😀"],
    ["007", "1e5", 1e5, 100000],
    [True, 1],
    [None, None],
]
LONG = "1" + "0" * 5000
"""An integer that Python does not convert."""


@pytest.fixture(scope="module")
def server() -> Server:
    return Server()


@pytest.fixture(scope="module")
def predictor(trained_job: JobFolder) -> Predictor:
    return Predictor.load(trained_job.model, threads=1)


def to_lines(ids: Sequence[Any]) -> str:
    return "".join(json.dumps({**ROW, "id": value}) + "\n" for value in ids)


def to_array(ids: Sequence[Any]) -> str:
    return json.dumps([{**ROW, "id": value} for value in ids])


def name_types(values: Sequence[Any]) -> list[tuple[type, Any]]:
    """Return the values with their types: 1, 1.0 and true are equal."""
    return [(type(value), value) for value in values]


@pytest.mark.parametrize("ids", IDS, ids=ascii)
def test_a_request_has_its_ids_back_whatever_the_other_ids_are(server: Server, ids: list[Any]) -> None:
    for body, content_type in ((to_array(ids), JSON), (to_lines(ids), JSONL)):
        records = decode(server.post(body, content_type))
        assert name_types([record["id"] for record in records]) == name_types(ids)
        alone = [decode(server.post(to_array([value]), JSON))[0]["id"] for value in ids]
        assert name_types(alone) == name_types(ids)


@pytest.mark.parametrize("ids", IDS, ids=ascii)
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_predict_writes_the_ids_and_carried_columns_of_json_as_they_were(
    trained_job: JobFolder, tmp_path: Path, ids: list[Any], suffix: str
) -> None:
    records = [{**ROW, "id": value, "note": value} for value in ids]
    lines = [json.dumps(record) for record in records]
    source = tmp_path / f"rows{suffix}"
    source.write_text(json.dumps(records) if suffix == ".json" else "\n".join(lines))
    done = predict(trained_job, source, tmp_path / "out.jsonl", "--columns", "note")
    assert done.exit_code == 0, done.stderr
    written = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    for name in ("id", "note"):
        assert name_types([record[name] for record in written]) == name_types(ids)


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([2**64 - 1, 1], [2**64 - 1, 1]),
        ([1, 2.5], ["1", "2.5"]),
        ([1, 1.0, True, None], ["1", "1.0", "True", None]),
        (["\ud800", "\udfff"], ["\\ud800", "\\udfff"]),
        ([2**70, 1], [str(2**70), "1"]),
    ],
)
def test_a_format_with_one_type_for_each_column_has_different_ids_as_different_texts(
    trained_job: JobFolder, predictor: Predictor, tmp_path: Path, ids: list[Any], expected: list[Any]
) -> None:
    source = tmp_path / "rows.jsonl"
    source.write_text(to_lines(ids))
    assert predict(trained_job, source, tmp_path / "out.parquet").exit_code == 0
    assert pq.read_table(tmp_path / "out.parquet")["id"].to_pylist() == expected
    assert predictor.predict(source)["id"].to_pylist() == expected


def test_csv_has_the_texts_of_ids_of_several_types(server: Server) -> None:
    response = server.post(to_lines([1, 2.5, 2**64 - 1, "\ud800", None]), JSONL, Accept=f"{CSV}; header=absent")
    ids = [line.split(",")[0].strip('"') for line in response.text.splitlines()]
    assert ids == ["1", "2.5", str(2**64 - 1), "\\ud800", ""]


@pytest.mark.parametrize("place", ["ignored", "id", "message", "country"])
def test_an_integer_of_any_length_is_read_as_its_digits(server: Server, predictor: Predictor, place: str) -> None:
    entry = json.dumps({**ROW, place: "LONG"}).replace('"LONG"', LONG)
    row = json.dumps(ROW)
    expected = decode(server.post(f"[{json.dumps({**ROW, place: LONG})}, {row}]", JSON))
    for body in (f"[{entry}, {row}]", f'{{"instances": [{entry}, {row}]}}', f'{{"inputs": [{entry}, {row}]}}'):
        assert decode(server.post(body, JSON)) == expected
    assert decode(server.post(f"{entry}\n{row}\n", JSONL)) == expected
    assert decode(server.post(entry, JSON)) == expected[:1]
    assert predictor.predict([{**ROW, place: int("1" + "0" * 600) ** 9}]) == predictor.predict([{**ROW, place: LONG}])


@pytest.mark.parametrize("suffix", [".json", ".jsonl"])
def test_a_file_may_have_an_integer_of_any_length_in_a_column_that_the_model_ignores(
    predictor: Predictor, tmp_path: Path, suffix: str
) -> None:
    entry = json.dumps({**ROW, "id": "a"})
    long_entry = entry.replace("}", f', "ignored": {LONG}}}')
    rows = [entry, long_entry, entry]
    (tmp_path / f"rows{suffix}").write_text(f"[{', '.join(rows)}]" if suffix == ".json" else "\n".join(rows))
    assert predictor.predict(tmp_path / f"rows{suffix}").num_rows == 3


def test_a_number_that_is_too_large_is_named_by_row_and_column(server: Server, predictor: Predictor) -> None:
    body = json.dumps({**ROW, "price": "LONG"}).replace('"LONG"', LONG)
    error = read_error(server.post(body, JSON), 422)
    assert (error["problems"][0]["row"], error["problems"][0]["column"]) == (1, "price")
    with pytest.raises(DataError, match="column 'price': 1 value is beyond the range"):
        predictor.predict([{**ROW, "price": 10**5000}])


def test_a_broken_document_with_a_long_integer_is_not_json(server: Server) -> None:
    for body in (f'[{{"price": {LONG}, }}]', f'{{"price": {LONG} 1}}'):
        error = read_error(server.post(body, JSON), 400)
        assert "set_int_max_str_digits" not in error["message"]
