"""`fusionzoo predict`: wrong arguments are errors before any work, and rows that cannot be scored can be listed."""

from __future__ import annotations

import csv
import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors import DataError, Problem
from fusionzoo.errors.value_problems import ValuesProblem
from fusionzoo.prediction.input_files import open_input, open_part
from fusionzoo.prediction.row_problems import find_invalid_rows
from fusionzoo.serving.scoring import Scorer
from prediction_helpers import assert_same_predictions, predict, read_expected, read_frame, read_test_rows, write_frame
from shop import JobFolder

HEADER = "id,message,price,visits,country,target\n"
GOOD = '1,"late, broken",1.5,2,de,1\n'


def predict_text(job: JobFolder, folder: Path, text: str | bytes, *options: str, suffix: str = "csv") -> Any:
    """Predict a file of these contents with the rows that cannot be scored in errors.csv."""
    source = folder / f"in/rows.{suffix}"
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return predict(job, source, folder / "out.csv", "--errors", str(folder / "errors.csv"), *options)


def read_errors(folder: Path) -> list[list[str]]:
    with (folder / "errors.csv").open(newline="") as file:
        heading, *rows = csv.reader(file)
    assert heading == ["file", "row", "column", "reason"]
    return rows


def read_ids(folder: Path) -> list[str]:
    return list(read_frame(folder / "out.csv")["id"])


def test_a_value_that_cannot_be_scored_stops_the_command(trained_job: JobFolder, tmp_path: Path) -> None:
    rows = read_test_rows(trained_job).astype({"price": object})
    rows.loc[[3, 7], "price"] = ["cheap", "1e999"]
    done = predict(trained_job, write_frame(tmp_path / "in/rows.csv", rows), tmp_path / "out.csv")
    assert done.exit_code == 1
    assert "in/rows.csv row 4 'cheap'" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_with_a_file_of_errors_the_other_rows_are_scored(trained_job: JobFolder, tmp_path: Path, suffix: str) -> None:
    rows = read_test_rows(trained_job).astype({"price": object, "visits": object})
    rows["price"] = [None if value != value else str(value) for value in rows["price"]]
    rows["visits"] = rows["visits"].astype(str)
    rows.loc[[3, 18], "price"] = "cheap"
    rows.loc[3, "visits"] = "many"
    if suffix != "parquet":
        rows["target"] = rows["target"].astype(object)
        rows.loc[5, "target"] = "maybe"
    source = write_frame(tmp_path / f"in/rows.{suffix}", rows)
    done = predict(trained_job, source, tmp_path / "out.csv", "--errors", str(tmp_path / "errors.csv"))
    assert done.exit_code == 0, done.stderr
    expected = [
        [f"in/rows.{suffix}", "4", "price", "value is not a finite number: 'cheap'"],
        [f"in/rows.{suffix}", "4", "visits", "value is not a finite number: 'many'"],
        [f"in/rows.{suffix}", "6", "target", "label was not seen in train: 'maybe'"],
        [f"in/rows.{suffix}", "19", "price", "value is not a finite number: 'cheap'"],
    ]
    bad = [3, 18] if suffix == "parquet" else [3, 5, 18]
    assert read_errors(tmp_path) == [line for line in expected if suffix != "parquet" or line[2] != "target"]
    assert f"{len(bad)} rows not scored, listed in {tmp_path / 'errors.csv'}" in done.stderr
    assert_same_predictions(
        read_frame(tmp_path / "out.csv"), read_expected(trained_job).drop(index=bad).reset_index(drop=True)
    )


def test_rows_with_predictions_that_are_not_finite_are_named_or_listed(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score, rows = Scorer.score, read_test_rows(trained_job)

    def score_without_price(scorer: Scorer, block: Rows) -> np.ndarray | None:
        scores = score(scorer, block)
        assert scores is not None
        scores[[value == 77 for value in block.columns["visits"].to_pylist()]] = np.nan
        return scores

    monkeypatch.setattr(Scorer, "score", score_without_price)
    monkeypatch.setattr("fusionzoo.prediction.prediction_blocks.SCORED_ROWS", 5)
    rows.loc[[3, 18], "visits"] = 77
    source = write_frame(tmp_path / "in/rows.parquet", rows)
    done = predict(trained_job, source, tmp_path / "out.csv")
    assert done.exit_code == 1
    assert "in/rows.parquet row 4" in done.stderr
    assert "[FZ-O112]" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    done = predict(trained_job, source, tmp_path / "out.csv", "--errors", str(tmp_path / "errors.csv"))
    assert done.exit_code == 0, done.stderr
    reason = "the prediction is NaN or infinite"
    assert read_errors(tmp_path) == [["in/rows.parquet", number, "", reason] for number in ("4", "19")]
    assert len(read_ids(tmp_path)) == len(rows) - 2


def test_rows_that_their_format_does_not_allow_are_listed(trained_job: JobFolder, tmp_path: Path) -> None:
    lines = [GOOD, "2,short\n", "3" + GOOD[1:], '4,"a"b,1,2,de,1\n', "5" + GOOD[1:]]
    invalid_utf8 = b"6,\xff\xfe,1,2,de,1\n"
    done = predict_text(trained_job, tmp_path, (HEADER + "".join(lines)).encode() + invalid_utf8 + GOOD.encode())
    assert done.exit_code == 0, done.stderr
    assert read_ids(tmp_path) == ["1", "3", "5", "1"]
    assert [(row, column) for _, row, column, _ in read_errors(tmp_path)] == [("2", ""), ("4", ""), ("6", "")]
    reasons = [reason for *_, reason in read_errors(tmp_path)]
    assert reasons[0] == "line 3: 2 columns instead of 6"
    assert "quoted text" in reasons[1]
    assert "UTF-8" in reasons[2]


def test_a_header_that_cannot_be_parsed_is_an_error_with_its_line(trained_job: JobFolder, tmp_path: Path) -> None:
    done = predict_text(trained_job, tmp_path, f'"id"s,{HEADER}{GOOD}'.encode())
    assert done.exit_code == 1
    assert "line 1: a quoted text does not end correctly" in done.stderr


def test_lines_that_are_not_rows_of_json_are_listed(trained_job: JobFolder, tmp_path: Path) -> None:
    row = {"id": "7", "message": "late", "price": 1.5, "visits": 2, "country": "de", "target": 1}
    nested = json.dumps({**row, "price": {"a": 1}})
    lines = ["{broken", json.dumps(row), "[1]", "", nested, json.dumps({**row, "id": 2**60}), '"text"']
    done = predict_text(trained_job, tmp_path, "\n".join(lines).encode() + b'\n{"id": "\xff"}\n', suffix="jsonl")
    assert done.exit_code == 0, done.stderr
    listed = [(row, column) for _, row, column, _ in read_errors(tmp_path)]
    assert listed == [("1", ""), ("3", ""), ("4", "price"), ("6", ""), ("7", "")]
    assert read_ids(tmp_path) == ["7", str(2**60)]
    (tmp_path / "out.csv").unlink()
    (tmp_path / "errors.csv").unlink()
    done = predict_text(trained_job, tmp_path, f"[{json.dumps(row)}, 3, {nested}]", suffix="json")
    assert done.exit_code == 0, done.stderr
    assert [(row, column) for _, row, column, _ in read_errors(tmp_path)] == [("2", ""), ("3", "price")]


@pytest.mark.parametrize("label", [[1], {"a": 1}])
def test_a_label_that_is_an_array_or_an_object_is_listed_if_labels_are_read(
    trained_job: JobFolder, tmp_path: Path, label: object
) -> None:
    row = {"id": "7", "message": "late", "price": 1.5, "visits": 2, "country": "de", "target": 1}
    lines = [json.dumps(row), json.dumps({**row, "id": "8", "target": label})]
    done = predict_text(trained_job, tmp_path, "\n".join(lines).encode(), suffix="jsonl")
    assert done.exit_code == 0, done.stderr
    assert [(row, column) for _, row, column, _ in read_errors(tmp_path)] == [("2", "target")]
    assert read_ids(tmp_path) == ["7"]
    errors = str(tmp_path / "none.csv")
    done = predict(trained_job, tmp_path / "in/rows.jsonl", tmp_path / "b.csv", "--no-labels", "--errors", errors)
    assert done.exit_code == 0, done.stderr
    assert read_frame(tmp_path / "b.csv")["id"].astype(str).tolist() == ["7", "8"]


@pytest.mark.parametrize(
    ("settings", "rejected"),
    [({"label_name": ["red", "blue"]}, [(2, "red")]), ({"label_name": "red"}, [])],
    ids=["columns of 0 and 1", "a column of lists"],
)
def test_only_the_value_of_a_column_of_label_lists_may_be_an_array(
    tmp_path: Path, settings: dict[str, Any], rejected: list[tuple[int, str]]
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a", "red": 1, "blue": 0}\n{"text": "b", "red": [1], "blue": 0}\n')
    problems: list[tuple[int, str]] = []
    data_settings = DataSettings.model_validate({"task": "multilabel", "text_name": "text", **settings})
    with open_input(str(path), None, data_settings, reject_rows=True) as inputs:
        options = replace(inputs.files[0].options, reject_row=lambda _, row, column, __: problems.append((row, column)))
        blocks = [*open_part([replace(inputs.files[0], options=options)], ["text", "red"])]
    assert problems == rejected
    assert sum(map(len, blocks)) == 2 - len(rejected)


def test_without_a_wrong_row_the_list_is_empty(trained_job: JobFolder, tmp_path: Path) -> None:
    assert predict_text(trained_job, tmp_path, HEADER + GOOD).exit_code == 0
    assert read_errors(tmp_path) == []
    assert read_ids(tmp_path) == ["1"]


def test_only_wrong_rows_leave_predictions_without_rows(trained_job: JobFolder, tmp_path: Path) -> None:
    assert predict_text(trained_job, tmp_path, HEADER + GOOD.replace("1.5", "x")).exit_code == 0
    assert len(read_errors(tmp_path)) == 1
    assert read_ids(tmp_path) == []


def test_a_column_that_no_row_can_use_is_an_error_with_a_list_too(trained_job: JobFolder, tmp_path: Path) -> None:
    rows = read_test_rows(trained_job).assign(price=pd.Timestamp("2024-02-29"))
    source = write_frame(tmp_path / "rows.parquet", rows)
    done = predict(trained_job, source, tmp_path / "out.csv", "--errors", str(tmp_path / "errors.csv"))
    assert done.exit_code == 1
    assert "column 'price'" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["rows.parquet"]


def test_a_lost_quote_is_an_error_with_a_list_too(trained_job: JobFolder, tmp_path: Path) -> None:
    done = predict_text(trained_job, tmp_path, HEADER + GOOD + '2,"never ends,1,2,de,1\n' + GOOD * 3)
    assert done.exit_code == 1
    assert "in/rows.csv line 3" in done.stderr


def test_the_errors_of_kept_part_files_are_listed_again(trained_job: JobFolder, tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        path = tmp_path / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HEADER + GOOD + "2,short\n")
    options = ["--errors", str(tmp_path / "errors.csv")]
    for kept in (0, 1, 2):
        done = predict(trained_job, tmp_path / "in", tmp_path / "out", *options)
        assert done.exit_code == 0, done.stderr
        assert ("earlier run kept" in done.stderr) == bool(kept)
        assert [file for file, *_ in read_errors(tmp_path)] == ["in/a.csv", "in/b.csv"]
        assert "2 rows not scored" in done.stderr
        if not kept:
            (tmp_path / "out/b.csv").unlink()


def test_every_invalid_row_is_found_with_its_own_reason() -> None:
    def check(rows: Rows) -> None:
        bad = [(rows.locate(i), value) for i, value in enumerate(rows.columns["a"].to_pylist()) if value % 7 == 3]
        if bad:
            raise DataError([ValuesProblem.of(("x", "y"), ("value", "odd"), len(bad), bad, "fix", "FZ-D106")])

    rows = Rows({"a": pa.array(range(200))}, "file", 1, typed=True)
    assert find_invalid_rows(rows, check) == {i: f"value odd: '{i}'" for i in range(200) if i % 7 == 3}

    def reject_type(rows: Rows) -> None:
        raise DataError([Problem("x", "wrong type", "fix", "FZ-D103")])

    with pytest.raises(DataError, match="wrong type"):
        find_invalid_rows(rows, reject_type)


def make_socket(path: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
    return path


@pytest.fixture
def files(trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of good and bad inputs, which is the current folder."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden/_SUCCESS").touch()
    (tmp_path / "in").mkdir()
    (tmp_path / "in/rows.csv").write_text(HEADER + GOOD)
    for name in ("empty.csv", "empty.jsonl", "hidden/empty.csv"):
        (tmp_path / name).touch()
    (tmp_path / "image.png").write_bytes(b"\x89PNG\r\n")
    (tmp_path / "other.parquet").write_text(HEADER + GOOD)
    (tmp_path / "without.csv").write_text("id,message,prize,visits,country\n1,a,1,1,de\n")
    (tmp_path / "exists.csv").write_text("keep")
    (tmp_path / "model").symlink_to(trained_job.model)
    make_socket(tmp_path / "socket.csv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("source", "output", "options", "message"),
    [
        ("absent.csv", "x.csv", [], "absent.csv does not exist"),
        ("empty.csv", "x.csv", [], "empty.csv is empty"),
        ("empty.jsonl", "x.csv", [], "empty.jsonl is empty"),
        ("empty", "x", [], "empty is empty"),
        ("hidden", "x", [], "hidden is empty"),
        ("socket.csv", "x.csv", [], "neither a file nor a folder"),
        ("image.png", "x.csv", [], "not a known format"),
        ("other.parquet", "x.parquet", [], "other.parquet"),
        ("in/rows.csv", "x.csv", ["--format", "parquet"], "csv by its suffix"),
        ("without.csv", "x.csv", [], "column 'price' of the model does not exist. Fix: did you mean 'prize'"),
        ("in/rows.csv", "x.csv", ["--columns", "price,citi"], "column 'citi' does not exist"),
        ("in/rows.csv", "x.csv", ["--columns", "prob_1"], "column 'prob_1' does not exist"),
        ("in/rows.csv", "exists.csv", [], "exists.csv already exists"),
        ("in", "exists.csv", [], "exists.csv already exists"),
        ("in/rows.csv", "empty", [], "empty is a folder"),
        ("in/rows.csv", "new/", [], "new is a folder"),
        ("in/rows.csv", "in/rows.csv", [], "is the same as --input"),
        ("in/rows.csv", "./in/../in/rows.csv", [], "is the same as --input"),
        ("in", "in", [], "is the same as --input"),
        ("in", "in/out", [], "is inside --input"),
        ("in", "in/out.csv", [], "is inside --input"),
        ("in", ".", [], "--input in is inside --output"),
        ("in/rows.csv", "x.csv", ["--output-format", "parquet"], "has the suffix of csv"),
        ("in/rows.csv", "x.csv", ["--errors", "x.csv"], "--errors x.csv is the same as --output"),
        ("in", "x", ["--errors", "x/errors.csv"], "--errors x/errors.csv is inside --output"),
        ("in", "x", ["--errors", "in/errors.csv"], "is inside --input"),
        ("in/rows.csv", "x.csv", ["--errors", "exists.csv"], "exists.csv already exists"),
        ("in/rows.csv", "x.csv", ["--errors", "empty"], "--errors empty is a folder"),
        ("in/rows.csv", "model/x.csv", [], "is inside --model"),
        ("in/rows.csv", "x.csv", ["--model", "in"], "The folder in has no manifest.json"),
        ("in/rows.csv", "x.csv", ["--model", "absent"], "absent"),
        ("in/rows.csv", "x.csv", ["--shard", "1/2"], "--output x.csv is one file"),
        ("in/rows.csv", "exists.csv/x.csv", [], "exists.csv"),
    ],
)
def test_a_wrong_argument_is_an_error_before_any_work(
    trained_job: JobFolder, files: Path, source: str, output: str, options: list[str], message: str
) -> None:
    before = sorted(path for path in files.rglob("*"))
    done = predict(trained_job, source, output, *options)
    assert done.exit_code == 1, done.stderr
    assert message in " ".join(done.stderr.split())
    assert "Fix:" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path for path in files.rglob("*")) == before
    assert (files / "exists.csv").read_text() == "keep"


def test_a_column_with_the_name_of_a_score_cannot_be_carried(trained_job: JobFolder, tmp_path: Path) -> None:
    source = write_frame(tmp_path / "rows.csv", read_test_rows(trained_job).assign(prob_1=0))
    done = predict(trained_job, source, tmp_path / "x.csv", "--columns", "prob_1")
    assert "'prob_1', which a prediction file has" in done.stderr


def test_a_column_of_arrays_cannot_be_carried(trained_job: JobFolder, tmp_path: Path) -> None:
    source = write_frame(tmp_path / "rows.parquet", read_test_rows(trained_job).assign(tags=[["a"]] * 19))
    done = predict(trained_job, source, tmp_path / "x.csv", "--columns", "tags")
    assert done.exit_code == 1
    assert "column 'tags' of --columns holds arrays" in done.stderr
    assert not (tmp_path / "x.csv").exists()


def test_bytes_that_are_no_text_cannot_be_written_as_csv(trained_job: JobFolder, tmp_path: Path) -> None:
    source = write_frame(tmp_path / "rows.parquet", read_test_rows(trained_job).assign(code=[b"\xff"] * 19))
    done = predict(trained_job, source, tmp_path / "x.csv", "--columns", "code")
    assert done.exit_code == 1
    assert "x.csv cannot be written as csv" in done.stderr
    assert "--output-format parquet" in done.stderr
    assert predict(trained_job, source, tmp_path / "x.parquet", "--columns", "code").exit_code == 0
    assert [path.suffix for path in sorted(tmp_path.iterdir())] == [".parquet", ".parquet"]
