"""Prediction files: columns, formats, and the check that each file reads back as it was written."""

from __future__ import annotations

import csv
import datetime
import decimal
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fusionzoo.artifacts import predictions
from fusionzoo.artifacts.prediction_files import write_predict_results, write_predictions
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions, plain_ids, prediction_columns
from fusionzoo.data.reading.formats import FORMATS as READ_FORMATS
from fusionzoo.errors import OutputError, PredictionColumnsError, ScoresError
from task_helpers import make_classification

FORMATS = tuple(READ_FORMATS)
IDS = pa.array([11, 12, 13])
HARD_TO_FORMAT = np.array([[0.1, 0.9], [1 / 3, 2 / 3], [1e-30, 1.0]], dtype=np.float32)


def random_probabilities(rows: int, classes: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).random((rows, classes)).astype(np.float32)
    return drawn / drawn.sum(axis=1, keepdims=True)


def make_predictions(ids: pa.Array = IDS, **changes: Any) -> Predictions:
    """Predictions of two classes, with other fields where `changes` has them."""
    fields: dict[str, Any] = {
        "id_name": "order id",
        "task": make_classification(changes.pop("classes", ["no", "yes"]), changes.pop("label_name", "target")),
        "ids": ids,
        "labels": np.arange(len(ids)) % 2,
        "scores": HARD_TO_FORMAT if len(ids) == 3 else random_probabilities(len(ids), 2),
    }
    return Predictions(**{**fields, **changes})


def write(path: Path, format: str, ids: pa.Array = IDS, **changes: Any) -> None:
    write_predictions(path, format, make_predictions(ids, **changes))


def read(path: Path, format: str, types: dict[str, pa.DataType] | None = None) -> pa.Table:
    """Read the file as another program would, with these column types."""
    if format == "parquet":
        return pq.read_table(path)
    if format == "jsonl":
        return pa.Table.from_pylist([json.loads(line) for line in path.read_bytes().split(b"\n") if line])
    return pacsv.read_csv(
        path,
        parse_options=pacsv.ParseOptions(delimiter={"csv": ",", "tsv": "\t"}[format], newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(column_types=types or {}, null_values=[], strings_can_be_null=False),
    )


def test_every_format_of_a_channel_is_a_format_of_predictions() -> None:
    assert set(PREDICTION_FORMATS) == set(FORMATS)


@pytest.mark.parametrize("format", FORMATS)
def test_columns_are_id_label_probabilities_and_predicted_label(tmp_path: Path, format: str) -> None:
    write(tmp_path / "file", format)
    table = read(tmp_path / "file", format)
    assert table.column_names == ["order id", "target", "prob_no", "prob_yes", "predicted_target"]
    assert table["order id"].to_pylist() == [11, 12, 13]
    assert table["target"].to_pylist() == ["no", "yes", "no"]
    assert table["predicted_target"].to_pylist() == ["yes", "yes", "yes"]


@pytest.mark.parametrize("format", FORMATS)
def test_probabilities_read_back_as_the_same_float32(tmp_path: Path, format: str) -> None:
    every_exponent = np.random.default_rng(0).integers(1, 2**30, 2000, dtype=np.int32).view(np.float32)
    written = np.stack([every_exponent, 1 - every_exponent], axis=1)
    write(tmp_path / "file", format, pa.array(range(2000)), scores=written)
    table = read(tmp_path / "file", format, {"prob_no": pa.float32(), "prob_yes": pa.float32()})
    read_back = np.stack([table[name].to_numpy().astype(np.float32) for name in ("prob_no", "prob_yes")], axis=1)
    assert read_back.view(np.int32).tolist() == written.view(np.int32).tolist()


@pytest.mark.parametrize("format", FORMATS)
def test_rows_keep_their_order_over_several_blocks(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "CELLS_PER_BLOCK", 1)
    ids = np.random.default_rng(0).permutation(1000)
    chunked = pa.chunked_array([ids[:300], ids[300:]])
    y_true, probabilities = ids % 3, random_probabilities(1000, 3)
    write(tmp_path / "file", format, chunked, classes=[5, 7, 9], labels=y_true, scores=probabilities)
    table = read(tmp_path / "file", format)
    assert table["order id"].to_pylist() == ids.tolist()
    assert table["target"].to_pylist() == (5 + 2 * y_true).tolist()
    assert table["predicted_target"].to_pylist() == (5 + 2 * probabilities.argmax(axis=1)).tolist()


@pytest.mark.parametrize("format", FORMATS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text(max_size=8) | st.sampled_from(["007", 'a"b', "x,y", "l1\nl2", "a\tb", "\r\n", "", "NA"])))
def test_text_ids_are_written_unchanged(tmp_path: Path, format: str, ids: list[str]) -> None:
    write(tmp_path / "file", format, pa.array(ids, pa.string()))
    table = read(tmp_path / "file", format, {"order id": pa.string()})
    assert (table["order id"].to_pylist() if ids else []) == ids


@pytest.mark.parametrize("format", ["csv", "tsv"])
def test_the_csv_module_of_python_reads_the_file(tmp_path: Path, format: str) -> None:
    ids = ["007", 'a "quoted" id', "comma, tab\t", "two\nlines"]
    write(tmp_path / "file", format, pa.array(ids), label_name='the "label"', classes=["a,b", "c\td"])
    text = io.StringIO((tmp_path / "file").read_bytes().decode("utf-8"), newline="")
    rows = list(csv.reader(text, delimiter={"csv": ",", "tsv": "\t"}[format]))
    assert rows[0] == ["order id", 'the "label"', "prob_a,b", "prob_c\td", 'predicted_the "label"']
    assert [row[0] for row in rows[1:]] == ids
    assert [row[1] for row in rows[1:]] == ["a,b", "c\td", "a,b", "c\td"]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([1, 2**63 - 1, -5]),
        pa.array([7, 8, None], pa.int8()),
        pa.array(["a", None, "c"]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([datetime.date(2024, 2, 29)] * 3),
        pa.array([datetime.datetime(2024, 2, 29, 12, 30, 1, 5)] * 3, pa.timestamp("us")),
        pa.array([decimal.Decimal("1.10")] * 3),
        pa.array([True, False, True]),
        pa.array([None, None, None], pa.null()),
    ],
    ids=lambda ids: str(ids.type),
)
def test_ids_of_every_type_keep_type_and_value(tmp_path: Path, ids: pa.Array) -> None:
    write(tmp_path / "file", "parquet", ids)
    assert read(tmp_path / "file", "parquet")["order id"].combine_chunks().equals(ids)
    plain = ids.cast(ids.type.value_type) if pa.types.is_dictionary(ids.type) else ids
    write(tmp_path / "file", "csv", ids)
    table = pacsv.read_csv(
        tmp_path / "file",
        convert_options=pacsv.ConvertOptions(
            column_types={"order id": plain.type}, strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
    assert table["order id"].to_pylist() == plain.to_pylist()


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("classes", [[0, 1], [0.5, 2.0], [False, True], ["no", "yes"]], ids=str)
def test_labels_are_written_unchanged(tmp_path: Path, format: str, classes: list[Any]) -> None:
    write(tmp_path / "file", format, classes=classes)
    table = read(tmp_path / "file", format)
    assert table["target"].to_pylist() == [classes[0], classes[1], classes[0]]
    assert table["predicted_target"].to_pylist() == [classes[1]] * 3
    assert isinstance(table["predicted_target"][0].as_py(), type(classes[1])) or format in ("csv", "tsv")


@pytest.mark.parametrize("format", FORMATS)
def test_a_split_without_rows_has_a_file_without_rows(tmp_path: Path, format: str) -> None:
    write(tmp_path / "file", format, pa.array([], pa.int64()))
    assert read(tmp_path / "file", format).num_rows == 0
    assert (format == "jsonl") == ((tmp_path / "file").stat().st_size == 0)


def test_json_lines_are_utf8_and_strict(tmp_path: Path) -> None:
    write(tmp_path / "file", "jsonl", pa.array(["zoë\u2028", "日本", "\U0001f600"]), classes=["né", "ja"])
    lines = (tmp_path / "file").read_text("utf-8").split("\n")
    assert "日本" in lines[1]
    assert "né" in lines[0]
    write(tmp_path / "file", "jsonl", pa.array([1.5, float("nan"), None]))
    ids = [json.loads(line, parse_constant=pytest.fail)["order id"] for line in (tmp_path / "file").open("rb")]
    assert ids == [1.5, None, None]


def test_each_of_a_hundred_classes_has_its_own_column(tmp_path: Path) -> None:
    probabilities = random_probabilities(10_000, 100)
    write(
        tmp_path / "file",
        "parquet",
        pa.array(range(10_000)),
        classes=list(range(100)),
        labels=np.zeros(10_000, np.int64),
        scores=probabilities,
    )
    table = pq.read_table(tmp_path / "file")
    assert np.array_equal(table["prob_99"].to_numpy(), probabilities[:, 99])


@pytest.mark.parametrize(
    ("id_name", "label_name", "classes", "name"),
    [
        ("prob_1", "y", [0, 1], "prob_1"),
        ("y", "y", [0, 1], "y"),
        ("predicted_y", "y", [0, 1], "predicted_y"),
        ("id", "prob_a", ["a", "b"], "prob_a"),
        ("id", "y", ["1", "1"], "prob_1"),
    ],
)
def test_duplicate_column_names_are_an_error_that_names_them(
    id_name: str, label_name: str, classes: list[Any], name: str
) -> None:
    with pytest.raises(PredictionColumnsError, match=f"'{name}'"):
        prediction_columns(id_name, make_classification(classes, label_name))


def test_labels_of_mixed_types_are_an_error() -> None:
    assert prediction_columns("id", make_classification([1, 2.5]))[2:4] == ["prob_1", "prob_2.5"]
    with pytest.raises(PredictionColumnsError, match="one type"):
        prediction_columns("id", make_classification([0, 1, "2"]))
    with pytest.raises(PredictionColumnsError, match="one type"):
        prediction_columns("id", make_classification([True, 0]))


def test_fields_that_do_not_fit_each_other_are_an_error() -> None:
    with pytest.raises(ScoresError, match="shapes"):
        make_predictions(scores=random_probabilities(4, 2))
    with pytest.raises(ScoresError, match="shapes"):
        make_predictions(classes=["a", "b", "c"])
    with pytest.raises(ScoresError, match=r"first in scores\[1\]"):
        make_predictions(scores=np.array([[0.5, 0.5], [np.nan, 1], [1, 0]], np.float32))


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("damage", ["a row lost", "a probability changed"])
def test_a_file_that_reads_back_differently_is_an_error(
    tmp_path: Path, format: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"old")
    file_format = PREDICTION_FORMATS[format]

    def write_damaged(file: Any, schema: pa.Schema, batches: Any) -> None:
        table = pa.Table.from_batches(batches)
        if damage == "a row lost":
            table = table.slice(1)
        else:
            table = table.set_column(2, schema.field(2), pa.array(np.array([0.1, 0.4, 0.0], np.float32)))
        file_format.write(file, schema, iter(table.to_batches()))

    monkeypatch.setitem(PREDICTION_FORMATS, format, replace(file_format, write=write_damaged))
    message = r"reads back with \(2, 2\)" if damage == "a row lost" else "in 2 rows, first in row 2"
    with pytest.raises(OutputError, match=message):
        write(tmp_path / "file", format)
    assert (tmp_path / "file").read_bytes() == b"old"


# --- predict_results.pth


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        (pa.array(["007", "", "zoë"]), ["007", "", "zoë"]),
        (pa.array([3, 2**62, None]), [3, 2**62, None]),
        (pa.array([datetime.date(2024, 2, 29)] * 3), ["2024-02-29"] * 3),
        (
            pa.array([datetime.datetime(2024, 2, 29, 1)] * 3, pa.timestamp("ns", "UTC")),
            ["2024-02-29 01:00:00+00:00"] * 3,
        ),
        (pa.array([decimal.Decimal("1.10")] * 3), ["1.10"] * 3),
        (pa.array([b"ab", b"\xff", b""]), ["ab", "\\xff", ""]),
    ],
    ids=lambda value: str(value.type) if isinstance(value, pa.Array) else "",
)
def test_predict_results_load_safely_with_ids_of_every_type(tmp_path: Path, ids: pa.Array, expected: list[Any]) -> None:
    predictions = make_predictions(ids, labels=np.array([0, 1, 1], np.int32))
    write_predict_results(tmp_path / "predict_results.pth", predictions, "test")
    results = torch.load(tmp_path / "predict_results.pth", weights_only=True)
    assert results["ids"] == expected == plain_ids(ids)
    assert [type(value) for value in results["ids"]] == [type(value) for value in expected]
    assert results["y_true"].dtype == torch.int64
    assert results["y_true"].tolist() == [0, 1, 1]
    assert results["y_pred"].dtype == torch.float32
    assert torch.equal(results["y_pred"], torch.tensor(HARD_TO_FORMAT))
    assert results["classes"] == ["no", "yes"]
    assert results["split"] == "test"
    assert sorted(results) == ["classes", "ids", "split", "y_pred", "y_true"]


def test_predict_results_accept_labels_of_numpy_types(tmp_path: Path) -> None:
    predictions = make_predictions(classes=list(np.unique(["b", "a"])))
    write_predict_results(tmp_path / "p.pth", predictions, "test")
    assert torch.load(tmp_path / "p.pth", weights_only=True)["classes"] == ["a", "b"]


def test_predict_results_that_read_back_differently_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "load", lambda *_, **__: {"y_pred": torch.zeros(3, 2)})
    with pytest.raises(OutputError, match="in 3 rows"):
        write_predict_results(tmp_path / "p.pth", make_predictions(), "test")
    assert list(tmp_path.iterdir()) == []
