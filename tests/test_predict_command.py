"""`fusionzoo predict`: the predictions of a job for its raw rows, in every format, from files, folders and streams."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fusionzoo.cli.commands import app
from fusionzoo.prediction import prediction_blocks
from fusionzoo.prediction.predict_job import PredictOptions, predict_files
from prediction_helpers import (
    assert_same_predictions,
    fail_at,
    predict,
    read_expected,
    read_frame,
    read_test_rows,
    write_frame,
)
from shop import JobFolder


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".json", ".parquet", ".csv.gz", ".jsonl.gz"])
def test_the_predictions_of_a_file_are_those_of_the_job(trained_job: JobFolder, tmp_path: Path, suffix: str) -> None:
    source = write_frame(tmp_path / f"rows{suffix}", read_test_rows(trained_job))
    output = tmp_path / f"predictions{suffix.replace('.json', '.jsonl').replace('.jsonll', '.jsonl')}"
    done = predict(trained_job, source, output)
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr == f"19 rows scored: {output}\n"
    assert_same_predictions(read_frame(output), read_expected(trained_job))


def test_a_parquet_file_has_the_schema_of_the_job(trained_job: JobFolder, tmp_path: Path) -> None:
    source = trained_job.root / "input/data/test"
    assert predict(trained_job, source, tmp_path / "out.parquet").exit_code == 0
    job_file = pq.read_table(trained_job.output / "test_predictions.parquet")
    assert pq.read_table(tmp_path / "out.parquet").schema.equals(job_file.schema)


@pytest.mark.parametrize("format", ["csv", "tsv", "jsonl", "json", "parquet"])
def test_another_format_can_be_written(trained_job: JobFolder, tmp_path: Path, format: str) -> None:
    source = write_frame(tmp_path / "rows.jsonl", read_test_rows(trained_job))
    for output, options in ((tmp_path / "by_option", ["--output-format", format]), (tmp_path / f"x.{format}", [])):
        assert predict(trained_job, source, output, *options).exit_code == 0
        assert_same_predictions(read_frame(io.BytesIO(output.read_bytes()), format), read_expected(trained_job))


def test_labels_and_ids_are_optional(trained_job: JobFolder, tmp_path: Path) -> None:
    rows, expected = read_test_rows(trained_job), read_expected(trained_job)
    source = write_frame(tmp_path / "new/rows.csv", rows.drop(columns=["target", "id"]))
    assert predict(trained_job, source, tmp_path / "out.csv").exit_code == 0
    out = read_frame(tmp_path / "out.csv")
    assert out["row_id"].tolist() == [f"new/rows.csv:{i + 1}" for i in range(len(rows))]
    assert_same_predictions(out.drop(columns="row_id"), expected.drop(columns=["target", "id"]))
    assert predict(trained_job, trained_job.root / "input/data/test", tmp_path / "b.csv", "--no-labels").exit_code == 0
    assert_same_predictions(read_frame(tmp_path / "b.csv"), expected.drop(columns="target"))


def test_a_label_that_the_model_does_not_know_is_an_error_that_names_the_option(
    trained_job: JobFolder, tmp_path: Path
) -> None:
    source = write_frame(tmp_path / "rows.csv", read_test_rows(trained_job).assign(target="maybe"))
    done = predict(trained_job, source, tmp_path / "out.csv")
    assert done.exit_code == 1
    assert "'maybe'" in done.stderr
    assert "--no-labels" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    assert predict(trained_job, source, tmp_path / "out.csv", "--no-labels").exit_code == 0


def test_columns_of_the_input_follow_the_predictions(trained_job: JobFolder, tmp_path: Path) -> None:
    rows = read_test_rows(trained_job).assign(city=["Zürich", 'a "b", c', None] + ["x\ny"] * 16, code="007")
    for suffix in ("csv", "parquet", "jsonl"):
        source, output = write_frame(tmp_path / f"rows.{suffix}", rows), tmp_path / f"out.{suffix}"
        assert predict(trained_job, source, output, "--columns", "city,code,price,id").exit_code == 0
        out = read_frame(output)
        assert list(out.columns) == [*read_expected(trained_job).columns, "city", "code", "price"]
        assert out["city"].fillna("").tolist() == rows["city"].fillna("").tolist()
        pd.testing.assert_series_equal(pd.to_numeric(out["price"]), rows["price"])
        if suffix != "jsonl":  # pandas reads the text "007" as a number
            assert out["code"].astype(str).str.zfill(3).tolist() == rows["code"].tolist()


@pytest.mark.parametrize("ids", [["007", "1e5", " x ", "", "NA"], [2**62 + 1, -5, 0, 7, 8], [1.0, 2.5, 3.0, 4.0, 5.0]])
@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_ids_leave_as_they_came_in(trained_job: JobFolder, tmp_path: Path, ids: list[object], suffix: str) -> None:
    rows = read_test_rows(trained_job).head(5).assign(id=ids)
    source, output = write_frame(tmp_path / f"rows.{suffix}", rows), tmp_path / f"out.{suffix}"
    assert predict(trained_job, source, output).exit_code == 0
    if suffix == "parquet":
        assert read_frame(output)["id"].tolist() == ids
    elif suffix == "csv":
        assert read_frame(output)["id"].tolist() == [str(value) for value in ids]
    else:
        assert pd.read_json(output, lines=True, dtype=False)["id"].tolist() == ids


def test_standard_input_and_output_carry_data_only(trained_job: JobFolder, tmp_path: Path) -> None:
    rows, expected = read_test_rows(trained_job), read_expected(trained_job)
    for suffix, format in (
        (".csv", "csv"),
        (".tsv", "tsv"),
        (".jsonl", "json"),
        (".parquet", "parquet"),
        (".csv.gz", "csv"),
    ):
        stdin = write_frame(tmp_path / f"rows{suffix}", rows).read_bytes()
        done = predict(trained_job, "-", "-", "--format", format, stdin=stdin)
        assert done.exit_code == 0, done.stderr
        assert_same_predictions(read_frame(io.BytesIO(done.stdout_bytes), format), expected)
    assert "--format" in predict(trained_job, "-", "-", stdin=b"id\n").stderr
    assert "The input - is empty" in predict(trained_job, "-", "-", "--format", "csv", stdin=b"").stderr


def test_rows_are_scored_while_they_are_read(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prediction_blocks, "SCORED_ROWS", 4)
    read: list[int] = []
    split_blocks = prediction_blocks.split_blocks

    def count(blocks: object) -> object:
        for rows in split_blocks(blocks):  # type: ignore[arg-type]
            read.append(len(rows))
            yield rows

    monkeypatch.setattr(prediction_blocks, "split_blocks", count)
    options = PredictOptions(trained_job.model, str(trained_job.root / "input/data/test"), str(tmp_path / "out.csv"))
    with pytest.raises(RuntimeError, match="stop"):
        predict_files(options, fail_at(2, RuntimeError("stop")))
    assert read == [4, 4, 4]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143), RuntimeError("bug"), OSError(28, "full")])
def test_an_interruption_leaves_no_file(
    trained_job: JobFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    monkeypatch.setattr(prediction_blocks, "SCORED_ROWS", 4)
    source = str(trained_job.root / "input/data/test")
    options = PredictOptions(trained_job.model, source, str(tmp_path / "out.csv"), problem_file=tmp_path / "errors.csv")
    with pytest.raises(BaseException):  # noqa: B017 - the exception or the error that it is translated to
        predict_files(options, fail_at(2, error))
    assert list(tmp_path.iterdir()) == []


def run_in_shell(command: str) -> subprocess.CompletedProcess[str]:
    program = f"{sys.executable} -c 'from fusionzoo.cli import main; main()'"
    return subprocess.run(["bash", "-c", command.replace("fusionzoo", program, 1)], capture_output=True, text=True)


def test_a_closed_pipe_ends_the_command_without_a_message(trained_job: JobFolder, tmp_path: Path) -> None:
    rows = pd.concat([read_test_rows(trained_job)] * 600)
    source = write_frame(tmp_path / "rows.csv", rows)
    paths = f"--model {trained_job.model} --input {source} --output -"
    done = run_in_shell(f"fusionzoo predict {paths} | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines() == ['"id","target","prob_0","prob_1","predicted_target"', "141"]
    assert done.stderr == ""


def test_a_full_disk_behind_standard_output_is_an_error_with_a_fix(trained_job: JobFolder) -> None:
    source = trained_job.root / "input/data/test"
    done = run_in_shell(f"fusionzoo predict --model {trained_job.model} --input {source} --output - > /dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("error: Standard output cannot be written (No space left on device).\nFix:")
    assert "Traceback" not in done.stderr


def test_standard_input_is_scored_before_it_ends(trained_job: JobFolder) -> None:
    row = '{"id": 1, "message": "late", "price": 1, "visits": 2, "country": "de"}'
    paths = f"--model {trained_job.model} --input - --output - --format jsonl"
    done = run_in_shell(f"yes '{row}' | fusionzoo predict {paths} | head -n 2")
    assert [json.loads(line)["id"] for line in done.stdout.splitlines()] == [1, 1]
    assert done.stderr == ""


def test_a_terminal_shows_progress_on_standard_error_only(trained_job: JobFolder, tmp_path: Path) -> None:
    source = trained_job.root / "input/data/test"
    terminal, stderr = pty.openpty()
    code = "from fusionzoo.cli import main; main()"
    paths = ["--model", str(trained_job.model), "--input", str(source), "--output", "-", "--output-format", "csv"]
    environ = {**os.environ, "TERM": "xterm"}
    command = [sys.executable, "-c", code, "predict", *paths]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, env=environ)
    shown = os.read(terminal, 2**16).decode()
    os.close(terminal)
    os.close(stderr)
    assert "19 rows" in shown.split("19 rows scored")[0]
    assert_same_predictions(read_frame(io.BytesIO(done.stdout), "csv"), read_expected(trained_job))


def test_neither_command_imports_torch(trained_job: JobFolder, tmp_path: Path) -> None:
    source = trained_job.root / "input/data/test"
    code = (
        "import sys; from typer.testing import CliRunner; from fusionzoo.cli.commands import app\n"
        f"base = ['--model', {str(trained_job.model)!r}, '--input', {str(source)!r}, '--output']\n"
        f"for command in ('predict', 'evaluate'):\n"
        f"    done = CliRunner().invoke(app, [command, *base, {str(tmp_path)!r} + '/' + command])\n"
        "    print(done.exit_code, [name for name in ('torch', 'lightning', 'transformers') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ})
    assert done.stdout.splitlines() == ["0 []", "0 []"], done.stderr


def test_a_similar_id_or_label_is_named(
    trained_job: JobFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = read_test_rows(trained_job)
    source = write_frame(tmp_path / "rows.csv", rows.rename(columns={"id": "ID", "target": "Target"}))
    assert predict(trained_job, source, tmp_path / "out.csv").exit_code == 0
    warning = "input has no column '{}', but it has '{}'. Rename it if it is the same."
    assert caplog.messages == [warning.format("id", "ID"), warning.format("target", "Target")]
    options = ["evaluate", "--model", trained_job.root / "model", "--input", source, "--output", tmp_path / "e"]
    done = CliRunner().invoke(app, list(map(str, options)))
    assert "rename 'Target' to 'target' if it is the same; otherwise add the labels" in done.stderr


@pytest.mark.parametrize("column", ["id", "target"])
def test_ids_or_labels_that_begin_late_on_standard_input_are_an_error(
    trained_job: JobFolder, tmp_path: Path, column: str
) -> None:
    rows = pd.concat([read_test_rows(trained_job)] * 60).head(1100).drop(columns=["id", "target"])
    lines = rows.to_json(orient="records", lines=True).splitlines()
    last = json.dumps({**json.loads(lines[-1]), column: 1})
    for end, status in ((lines[-1], 0), (last, 1)):
        stdin = "\n".join([*lines, end]).encode()
        done = predict(trained_job, "-", tmp_path / f"{status}.csv", "--format", "jsonl", stdin=stdin)
        assert done.exit_code == status, done.stderr
        assert (f"stdin row 1101 has the column '{column}'" in done.stderr) == status


def test_an_input_inside_of_a_partition_names_the_folder_above(
    trained_job: JobFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = read_test_rows(trained_job)
    column = "country"
    folder = tmp_path / "new" / f"{column}=a"
    source = write_frame(folder / "p.csv", rows.drop(columns=column))
    assert predict(trained_job, tmp_path / "new", tmp_path / "0.csv").exit_code == 0
    for number, place in enumerate((folder, source), start=1):
        done = predict(trained_job, place, tmp_path / f"{number}.csv")
        assert f"Fix: give the folder above, {tmp_path / 'new'};" in done.stderr
        assert "did you mean" not in done.stderr
    labels = tmp_path / "new2" / "target=1"
    write_frame(labels / "p.csv", rows.drop(columns="target"))
    assert predict(trained_job, labels, tmp_path / "labels.csv").exit_code == 0
    assert f"input has no column 'target', but its folder {labels} has it in its name" in caplog.text
