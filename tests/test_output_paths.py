"""Where `predict` and `evaluate` may write, and the standard streams of a process that was started without them."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.atomic_files import write_text_atomically
from fusionzoo.contracts import TABULAR_PREPROCESS_CONTRACT
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.prediction.evaluate_job import EvaluateOptions, check_output
from fusionzoo.prediction.finished_parts import FinishedParts
from fusionzoo.prediction.input_files import InputFiles, open_input
from fusionzoo.prediction.output_files import OutputPlan, plan_output
from fusionzoo.prediction.predict_job import PredictOptions, check_options
from fusionzoo.prediction.progress_display import NoDisplay, show_progress
from fusionzoo.sagemaker.script_arguments import print_help
from fusionzoo.settings import JobSettings
from prediction_helpers import predict
from shop import JobFolder


@pytest.fixture
def folder(tmp_path: Path) -> InputFiles:
    return InputFiles(
        str(tmp_path / "in"), (PartFile(tmp_path / "in/a.csv", "in/a.csv", "csv", False),), tmp_path / "in"
    )


@pytest.fixture
def file(tmp_path: Path) -> InputFiles:
    return InputFiles(str(tmp_path / "a.csv"), (PartFile(tmp_path / "a.csv", "a.csv", "csv", False),))


@pytest.fixture(params=["folder", "file"])
def inputs(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


# --- suffixes

UNKNOWN_FORMATS = ["o.xlsx", "o.feather", "o.arrow", "o.avro", "o.h5", "o.XLSX", "o.pkl", "o.xml", "o.xlsx.gz"]
UNKNOWN_COMPRESSIONS = [
    "o.csv.zst",
    "o.csv.bz2",
    "o.csv.xz",
    "o.lz4",
    "o.zip",
    "o.tar.gz",
    "o.tgz",
    "o.CSV.ZST",
    "o.7z",
]


@pytest.mark.parametrize("name", UNKNOWN_FORMATS)
def test_a_suffix_of_another_format_is_an_error_unless_the_format_is_given(
    name: str, inputs: InputFiles, tmp_path: Path
) -> None:
    with pytest.raises(PredictionJobError, match="of a format that is not written") as caught:
        plan_output(inputs, str(tmp_path / name), None)
    assert ".csv, .json" in caught.value.fix
    assert [part.format for part in plan_output(inputs, str(tmp_path / name), "tsv").files] == ["tsv"]


@pytest.mark.parametrize("name", UNKNOWN_COMPRESSIONS)
@pytest.mark.parametrize("format", [None, "csv"])
def test_a_suffix_of_another_compression_is_an_error(
    name: str, format: str | None, inputs: InputFiles, tmp_path: Path
) -> None:
    with pytest.raises(PredictionJobError, match=r"a compressed output is always \.gz"):
        plan_output(inputs, str(tmp_path / name), format)


@pytest.mark.parametrize(
    ("name", "format", "gzipped"),
    [
        ("o.txt", "csv", False),
        ("o", "csv", False),
        ("o.2026-11-28", "csv", False),
        ("o.v2", "csv", False),
        ("o.pq", "parquet", False),
        ("o.xlsx.csv", "csv", False),
        ("zip.jsonl.gz", "jsonl", True),
        ("o.gz", "csv", True),
    ],
)
def test_other_names_of_a_file_are_written(
    name: str, format: str, gzipped: bool, file: InputFiles, tmp_path: Path
) -> None:
    (part,) = plan_output(file, str(tmp_path / name), None).files
    assert (part.format, part.gzipped, part.name) == (format, gzipped, name)


@pytest.mark.parametrize("name", ["o.zip/", "o.xlsx/", "o", "o.v2"])
def test_a_folder_may_have_a_suffix_if_its_name_ends_with_a_slash(
    name: str, folder: InputFiles, tmp_path: Path
) -> None:
    assert plan_output(folder, str(tmp_path) + f"/{name}", None).folder == tmp_path / name
    (tmp_path / "old.zip").mkdir()
    assert plan_output(folder, str(tmp_path / "old.zip"), None).folder == tmp_path / "old.zip"


def test_a_name_that_ends_with_gz_is_one_file_for_a_folder_too(folder: InputFiles, tmp_path: Path) -> None:
    plan = plan_output(folder, str(tmp_path / "all.gz"), None)
    assert plan.folder is None
    assert plan.files[0].gzipped


# --- what is at the path already


def make_file(path: Path) -> str:
    path.write_text("x")
    return "already exists"


def make_link(path: Path) -> str:
    path.symlink_to(path.with_name("nowhere"))
    return "already exists"


def make_pipe(path: Path) -> str:
    os.mkfifo(path)
    return "is a named pipe"


@pytest.mark.parametrize("make", [make_file, make_link, make_pipe])
def test_a_path_that_is_taken_is_an_error(make: Callable[[Path], str], inputs: InputFiles, tmp_path: Path) -> None:
    message = make(tmp_path / "taken")
    with pytest.raises(PredictionJobError, match=message):
        plan_output(inputs, str(tmp_path / "taken"), None)
    with pytest.raises(PredictionJobError, match=message):
        check_output(EvaluateOptions(tmp_path / "model", inputs.path, tmp_path / "taken"))


@pytest.mark.parametrize("path", ["/dev/null", "/dev/full"])
def test_a_device_is_no_output_and_is_not_to_be_deleted(path: str, inputs: InputFiles, tmp_path: Path) -> None:
    options = PredictOptions(tmp_path / "model", inputs.path, str(tmp_path / "o"), problem_file=Path(path))
    plan = plan_output(inputs, options.output, None)
    for call in (
        lambda: plan_output(inputs, path, None),
        lambda: check_options(options, plan),
        lambda: check_output(EvaluateOptions(tmp_path / "model", inputs.path, Path(path))),
    ):
        with pytest.raises(PredictionJobError, match=f"{path} is a device") as caught:
            call()
        assert "delete" not in caught.value.fix


def test_a_file_where_a_folder_is_needed_is_named(inputs: InputFiles, tmp_path: Path) -> None:
    (tmp_path / "blocker").write_text("x")
    path = tmp_path / "blocker/sub/deep"
    with pytest.raises(PredictionJobError, match=r"cannot be used: .*: Not a directory"):
        plan_output(inputs, str(path), None)
    with pytest.raises(PredictionJobError, match=r"cannot be used: .*: Not a directory"):
        check_output(EvaluateOptions(tmp_path / "model", inputs.path, path))
    with pytest.raises(PredictionJobError, match=r"cannot be used: .*: Not a directory"):
        FinishedParts.open(OutputPlan((), path), path, {})


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("method", ["iterdir", "read_text"])
def test_an_output_folder_that_cannot_be_read_is_an_error(
    number: int, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Path, *_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), str(self))

    write_text_atomically(tmp_path / "out/file", "x")
    monkeypatch.setattr(Path, method, fail)
    with pytest.raises(PredictionJobError, match=os.strerror(number)):
        FinishedParts.open(OutputPlan((), tmp_path / "out"), tmp_path / "out", {})
    if method == "iterdir":
        with pytest.raises(PredictionJobError, match=os.strerror(number)):
            check_output(EvaluateOptions(tmp_path / "model", "in.csv", tmp_path / "out"))


def test_the_command_reports_a_device_without_a_trace(trained_job: JobFolder) -> None:
    for output in ("/dev/null", "/dev/null/sub"):
        done = predict(trained_job, trained_job.root / "input/data/test", output)
        assert done.exit_code == 1
        assert done.stderr.startswith("error: --output /dev/null")
    assert Path("/dev/null").is_char_device()


# --- a process without standard streams


def test_without_standard_error_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with show_progress(3, 100) as display:
        assert isinstance(display, NoDisplay)


def test_without_standard_output_the_help_of_a_script_is_not_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdout", printed := io.StringIO())
    print_help(TABULAR_PREPROCESS_CONTRACT, JobSettings)
    assert "usage: " in printed.getvalue()
    monkeypatch.setattr(sys, "stdout", None)
    print_help(TABULAR_PREPROCESS_CONTRACT, JobSettings)  # argparse would print to standard error instead
    assert capsys.readouterr().err == ""


def test_a_closed_standard_input_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = DataSettings.model_validate({"text_name": "text", "label_name": "y", "num_classes": 2})
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(PredictionJobError, match="Standard input is closed"), open_input("-", "csv", settings):
        raise AssertionError
