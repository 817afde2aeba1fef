"""Paths are local: an option, argument or variable that is a URL, or "-" where a path is needed, is an error."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer

from cli_helpers import invoke
from fusionzoo.baseline.baseline_script import run_baseline_script
from fusionzoo.cli.commands import app
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.errors import PathError
from fusionzoo.local_paths import to_local_path
from fusionzoo.prediction.evaluate_script import run_evaluate_script
from fusionzoo.prediction.input_files import InputFiles, open_input
from fusionzoo.prediction.output_files import plan_output
from fusionzoo.preprocessing.preprocess_script import run_preprocess_script
from fusionzoo.sagemaker import Paths, run_job
from fusionzoo.sagemaker.processing_hosts import read_processing_hosts
from process_helpers import TRAIN_PY

SETTINGS = DataSettings.model_validate({"text_name": "text", "label_name": "y", "num_classes": 2})
URLS = ["s3://bucket/out/", "file:///home/me", "gs://b/x.csv", "S3://B", "https://host/x", "abfss://c@a/x", "s3a://b"]


@pytest.mark.parametrize("text", URLS)
def test_a_url_is_not_a_path(text: str) -> None:
    with pytest.raises(PathError, match=r"^--output is the URL .*://"):
        to_local_path("--output", text)


@pytest.mark.parametrize("text", ["a", "/a/b", "s3:/a", "a//b", "./s3://b", "://a", "1a://b", "C:\\a", "x/s3://b", ""])
def test_every_other_text_is_a_path(text: str) -> None:
    assert to_local_path("--output", text) == Path(text)


def test_the_home_folder_may_be_written_as_a_tilde(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert to_local_path("--root", "~/job") == Path("/home/anna/job")
    assert to_local_path("--root", "~") == Path("/home/anna")
    for text in ("./~/job", "~job", "a/~"):
        assert to_local_path("--root", text) == Path(text)
    paths = Paths.from_environment(
        {"SAGEMAKER_BASE_DIR": "~/ml", "SM_CHECKPOINT_DIR": "~/ck", "FUSIONZOO_CACHE": "~/c"}
    )
    assert (paths.base, paths.checkpoints, paths.cache) == tuple(
        Path(f"/home/anna/{name}") for name in ("ml", "ck", "c")
    )


@pytest.mark.parametrize("text", ["x" * 300, "y/" * 3000, "a/" + "z" * 256 + "/b", "loop", "loop/job", "null\0"])
def test_a_path_that_no_file_can_have_is_an_error(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a").mkdir()
    with pytest.raises(PathError, match=r"(?s)^--root is '.*cannot be a path here.*FZ-J045"):
        to_local_path("--root", text)


def test_a_home_folder_that_nobody_knows_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: (_ for _ in ()).throw(KeyError(uid)))
    with pytest.raises(PathError, match="FZ-J045"):
        to_local_path("--root", "~/job")


@pytest.mark.parametrize("name", ["SAGEMAKER_BASE_DIR", "SM_CHECKPOINT_DIR", "FUSIONZOO_CACHE", "XDG_CACHE_HOME"])
def test_a_folder_to_write_to_with_a_name_that_is_not_utf8_is_an_error(name: str) -> None:
    with pytest.raises(PathError, match=f"^{name} is .*not text in UTF-8.*"):
        Paths.from_environment({name: os.fsdecode(b"/tmp/a\xffb")})


def list_commands(group: typer.Typer) -> list[Callable[..., Any]]:
    found = [command.callback for command in group.registered_commands if command.callback is not None]
    for inner in group.registered_groups:
        found += list_commands(inner.typer_instance) if inner.typer_instance is not None else []
    return found


PARAMETERS = [
    pytest.param(hint, id=f"{command.__name__} {name}")
    for command in list_commands(app)
    for name, hint in typing.get_type_hints(command, include_extras=True).items()
    if "Path" in str(typing.get_args(hint)[:1]) or name in ("input_path", "output")
]


@pytest.mark.parametrize("hint", PARAMETERS)
def test_every_path_of_the_command_line_refuses_a_url(hint: Any, capsys: pytest.CaptureFixture[str]) -> None:
    (info,) = [item for item in typing.get_args(hint) if isinstance(item, typer.models.ParameterInfo)]
    assert info.parser is not None, "declare it with cli/path_option.py"
    with pytest.raises(typer.Exit):
        info.parser("s3://bucket/x")
    assert "is the URL s3://bucket/x" in capsys.readouterr().err
    assert info.parser("x") in ("x", Path("x"))


def test_the_table_of_path_options_is_not_empty() -> None:
    assert len(PARAMETERS) >= 15


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (["predict", "--model", "m", "--input", "i", "--output", "s3://b/o"], "--output"),
        (["predict", "--model", "m", "--input", "s3://b/i", "--output", "o"], "--input"),
        (["predict", "--model", "s3://b/m", "--input", "i", "--output", "o"], "--model"),
        (["predict", "--model", "m", "--input", "i", "--output", "o", "--errors", "gs://e"], "--errors"),
        (["evaluate", "--model", "m", "--input", "i", "--output", "s3://b/o"], "--output"),
        (["evaluate", "--model", "m", "--input", "i", "--output", "o", "--baseline", "s3://b"], "--baseline"),
        (["package", "--model", "m", "--output", "s3://b/model.tar.gz"], "--output"),
        (["train", "--root", "s3://b/job"], "--root"),
        (["demo", "--root", "file:///demo"], "--root"),
        (["preprocess", "--label-name", "y", "--root", "s3://b/job"], "--root"),
        (["serve", "--model", "s3://b/m"], "--model"),
        (["new", "idea", "--folder", "s3://b"], "--folder"),
        (["contract", "validate", "s3://b/train.py"], "SCRIPT"),
    ],
)
def test_a_command_with_a_url_writes_nothing(
    arguments: list[str], option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {option} is the URL ")
    assert "Fix: give a local path." in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--model", "m", "--input", "i", "--output", "-"],
        ["predict", "--model", "m", "--input", "i", "--output", "o", "--errors", "-"],
        ["train", "--root", "-"],
        ["new", "idea", "--folder", "-"],
    ],
)
def test_a_path_that_is_no_stream_refuses_a_dash(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = invoke(*arguments)
    assert done.exit_code == 1
    assert f"{arguments[-2]} is '-'" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["SAGEMAKER_BASE_DIR", "SM_CHECKPOINT_DIR", "FUSIONZOO_CACHE", "XDG_CACHE_HOME"])
def test_a_variable_that_is_a_url_is_an_error(name: str) -> None:
    with pytest.raises(PathError, match=f"^{name} is the URL s3://b/x"):
        Paths.from_environment({name: "s3://b/x"})


def test_a_variable_that_is_not_used_may_be_a_url() -> None:
    paths = Paths.from_environment({"FUSIONZOO_CACHE": "/cache", "XDG_CACHE_HOME": "s3://b/x"})
    assert paths.cache == Path("/cache")


@pytest.mark.parametrize("name", ["SM_CHECKPOINT_DIR", "FUSIONZOO_CACHE"])
def test_a_job_with_such_a_variable_writes_its_failure_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"SAGEMAKER_BASE_DIR": str(tmp_path / "ml"), name: "s3://b/x"}
    assert run_job(lambda paths: pytest.fail("the job ran"), environ) == 1
    assert (tmp_path / "ml/output/failure").read_text().startswith(f"{name} is the URL s3://b/x")
    assert [path.name for path in tmp_path.iterdir()] == ["ml"]


RUNS: list[Callable[[dict[str, str]], int]] = [
    lambda environ: run_job(lambda paths: pytest.fail("the job ran"), environ),
    run_baseline_script,
    lambda environ: run_evaluate_script([], environ),
    lambda environ: run_preprocess_script(["--label-name", "y"], environ),
]


@pytest.mark.parametrize("run", RUNS)
def test_a_url_as_the_root_folder_of_a_job_is_reported_on_both_streams(
    run: Callable[[dict[str, str]], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run({"SAGEMAKER_BASE_DIR": "s3://bucket/job"}) == 1
    printed = capsys.readouterr()
    for text in printed:
        assert "SAGEMAKER_BASE_DIR is the URL s3://bucket/job" in text
        assert "Traceback" not in text
    assert not list(tmp_path.iterdir())


def test_functions_that_take_paths_as_text_refuse_a_url() -> None:
    with pytest.raises(PathError, match="--output"):
        plan_output(InputFiles("a.csv", ()), "s3://b/o.csv", "csv")
    with pytest.raises(PathError, match="--input"), open_input("s3://b/i.csv", None, SETTINGS):
        raise AssertionError
    with pytest.raises(PathError, match="SAGEMAKER_BASE_DIR"):
        read_processing_hosts({"SAGEMAKER_BASE_DIR": "s3://b"}, "/x")


@pytest.mark.parametrize(
    ("program", "root_variable"),
    [
        ("-m fusionzoo.cli check cnn", ""),
        ("-m fusionzoo.cli train --root ROOT", ""),
        (str(TRAIN_PY), "ROOT"),
        (str(TRAIN_PY.with_name("train_xgboost.py")), "ROOT"),
    ],
)
def test_a_working_folder_that_was_deleted_is_an_error_before_torch_ends_the_process(
    program: str, root_variable: str, tmp_path: Path
) -> None:
    gone, root = tmp_path / "gone", tmp_path / "ml"
    gone.mkdir()
    root.mkdir()
    command = shlex.join([sys.executable, *program.replace("ROOT", str(root)).split()])
    environ = os.environ | ({"SAGEMAKER_BASE_DIR": str(root)} if root_variable else {})
    done = subprocess.run(
        ["sh", "-c", f"rmdir {shlex.quote(str(gone))}; exec {command}"],
        cwd=gone,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "[FZ-J051]" in done.stdout + done.stderr
    if "check" not in program:
        assert "FZ-J051" in (root / "output/failure").read_text()
