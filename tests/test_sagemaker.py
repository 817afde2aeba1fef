"""Paths, failure file, exit status and logs of a SageMaker job."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import ContainerError, ZooError
from fusionzoo.sagemaker import run_job
from fusionzoo.sagemaker.paths import Paths


def make_failing_job(error: BaseException) -> Callable[[Paths], None]:
    def job(paths: Paths) -> None:
        raise error

    return job


def run(job: Callable[[Paths], None], base: Path) -> tuple[int, str]:
    status = run_job(job, {"SAGEMAKER_BASE_DIR": str(base)})
    failure = base / "output/failure"
    return status, failure.read_text("utf-8") if failure.exists() else ""


def test_the_default_paths_are_below_opt_ml() -> None:
    paths = Paths.from_environment({})
    assert str(paths.hyperparameters) == "/opt/ml/input/config/hyperparameters.json"
    assert str(paths.channel("train")) == "/opt/ml/input/data/train"
    assert str(paths.model) == "/opt/ml/model"
    assert str(paths.output_data) == "/opt/ml/output/data"
    assert str(paths.checkpoints) == "/opt/ml/checkpoints"
    assert str(paths.failure) == "/opt/ml/output/failure"


def test_only_two_environment_variables_change_the_paths() -> None:
    moved = Paths.from_environment({"SAGEMAKER_BASE_DIR": "/a", "SM_CHECKPOINT_DIR": "/b", "SM_MODEL_DIR": "/c"})
    assert (str(moved.model), str(moved.checkpoints)) == ("/a/model", "/b")
    assert str(Paths.from_environment({"SAGEMAKER_BASE_DIR": "/a"}).checkpoints) == "/a/checkpoints"


def test_channel_configurations_are_read_from_inputdataconfig(tmp_path: Path) -> None:
    paths = Paths.from_environment({"SAGEMAKER_BASE_DIR": str(tmp_path)})
    assert paths.read_channel_configs() is None
    paths.input_data_config.parent.mkdir(parents=True)
    paths.input_data_config.write_text(json.dumps({"train": {"TrainingInputMode": "File"}}))
    assert paths.read_channel_configs() == {"train": {"TrainingInputMode": "File"}}
    paths.input_data_config.write_text("[")
    with pytest.raises(ContainerError, match="inputdataconfig"):
        paths.read_channel_configs()


def test_a_successful_job_exits_with_0_and_removes_a_stale_failure_file(tmp_path: Path) -> None:
    (tmp_path / "output").mkdir()
    (tmp_path / "output/failure").write_text("yesterday's")
    assert run(lambda paths: None, tmp_path) == (0, "")


def test_the_failure_file_of_a_zoo_error_contains_its_message_without_a_trace(tmp_path: Path, capsys: Any) -> None:
    status, failure = run(make_failing_job(ZooError("column 'x' is missing", "add it.", "FZ-D999")), tmp_path)
    assert (status, failure) == (1, "column 'x' is missing\nFix: add it. [FZ-D999]")
    out = capsys.readouterr()
    assert "column 'x' is missing" in out.out
    assert "Traceback" not in out.out + out.err


def test_the_failure_file_of_any_other_error_contains_the_cause_and_the_end_of_the_trace(tmp_path: Path) -> None:
    status, failure = run(make_failing_job(RuntimeError("x" * 5000 + "é" * 5000)), tmp_path)
    assert status == 1
    assert failure.startswith("RuntimeError: xxx")
    assert "Traceback" in failure
    assert len(failure.encode()) <= 20_000


def test_the_cause_is_within_the_characters_that_sagemaker_shows(tmp_path: Path) -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError("the cause " + "\ud800é" * 3)
        deep(depth - 1)

    status, failure = run(lambda paths: deep(300), tmp_path)
    assert status == 1
    assert failure[:1024].startswith("ValueError: the cause ")
    assert failure.rstrip().endswith("é")
    assert "in deep" in failure
    assert len((tmp_path / "output/failure").read_bytes()) <= 20_010


def test_a_long_message_is_cut_between_characters(tmp_path: Path) -> None:
    _, failure = run(make_failing_job(ZooError("x" + "é" * 40_000)), tmp_path)
    assert failure == "x" + "é" * 9_999


def test_an_out_of_memory_error_is_recognized_by_name_and_has_a_fix(tmp_path: Path) -> None:
    class OutOfMemoryError(RuntimeError):
        """Has the name of torch's class."""

    for error in (OutOfMemoryError("CUDA out of memory. " + "x" * 3000), MemoryError()):
        _, failure = run(make_failing_job(error), tmp_path)
        assert failure.startswith(type(error).__name__)
        assert "lower batch_size" in failure[:1024]


def test_a_job_receives_its_paths_and_ignores_command_line_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--batch_size", "3"])
    received: list[Paths] = []
    assert run(received.append, tmp_path) == (0, "")
    assert received == [Paths(tmp_path, tmp_path / "checkpoints", Path.home() / ".cache/fusionzoo")]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), SystemExit(0), MemoryError("no"), OSError(28, "x")]
)
def test_any_exception_gives_status_1_and_a_failure_file(error: BaseException, tmp_path: Path) -> None:
    status, failure = run(make_failing_job(error), tmp_path)
    assert status == 1
    assert failure.startswith(type(error).__name__)


def test_the_failure_file_contains_the_cause_of_the_first_process_that_failed(tmp_path: Path) -> None:
    def job(paths: Paths) -> None:
        paths.failure.parent.mkdir(parents=True)
        paths.failure.write_text("the first cause")
        raise ValueError("a later one")

    assert run(job, tmp_path) == (1, "the first cause")


def test_the_status_is_1_even_if_the_failure_file_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "output").write_text("a file in the way")
    assert run_job(make_failing_job(ValueError("x")), {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 1


def test_each_log_line_is_printed_once_and_the_handlers_are_restored(tmp_path: Path, capsys: Any) -> None:
    def job(paths: Paths) -> None:
        logging.getLogger("fusionzoo.somewhere").info("a line")

    before = list(logging.getLogger("fusionzoo").handlers)
    for _ in range(2):
        run(job, tmp_path)
    assert capsys.readouterr().out.count("INFO a line\n") == 2
    assert logging.getLogger("fusionzoo").handlers == before


def test_the_notes_of_an_exception_are_part_of_the_cause(tmp_path: Path) -> None:
    error = ValueError("y" * 3000)
    error.add_note("in the hook build_model of acme-fusion 1.0")
    assert "in the hook build_model of acme-fusion 1.0" in run(make_failing_job(error), tmp_path)[1][:1024]
