"""Paths, failure file, exit status and logs of a SageMaker job."""

from __future__ import annotations

import errno
import json
import logging
import os
import pwd
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import ContainerError, TerminatedError, ZooError, add_note
from fusionzoo.sagemaker import run_job
from fusionzoo.sagemaker.paths import Paths
from sagemaker_helpers import make_failing_job, run_in_folder


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


def test_a_user_without_a_home_folder_has_a_cache_that_cannot_be_created(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", fail)
    for environ in ({}, {"HOME": ""}):
        cache = Paths.from_environment(environ).cache
        with pytest.raises(OSError, match="Not a directory"):
            cache.mkdir(parents=True)
    assert Paths.from_environment({"HOME": "/home/me"}).cache == Path("/home/me/.cache/fusionzoo")
    assert Paths.from_environment({"FUSIONZOO_CACHE": "/cache"}).cache == Path("/cache")


def test_libraries_have_a_home_folder_although_the_user_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(uid: int) -> None:
        raise KeyError(uid)

    def job(paths: Paths) -> None:
        homes.append(Path.home())

    homes: list[Path] = []
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", fail)
    assert run_in_folder(job, tmp_path) == (0, "")
    assert homes == [Path(tempfile.gettempdir())]
    assert "Libraries use" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="home"):
        Path.home()


@pytest.mark.parametrize(
    ("error", "fix"),
    [
        (OSError(errno.EMFILE, "Too many open files", "/x"), "raise the limit on open files (ulimit -n)"),
        (OSError(errno.ENFILE, "Too many open files in system"), "fs.file-max"),
        (ImportError("libx.so: cannot open shared object file: Too many open files"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "free or add disk space"),
        (RuntimeError("can't start new thread"), "raise the limit on processes and threads (ulimit -u"),
        (OSError(errno.EIO, "Input/output error", "/x"), "check the disk"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), None),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/x"), None),
    ],
)
def test_a_failure_that_the_machine_causes_has_a_fix(error: Exception, fix: str | None, tmp_path: Path) -> None:
    status, failure = run_in_folder(make_failing_job(error), tmp_path)
    assert status == 1
    assert type(error).__name__ in failure
    assert ("Fix: " in failure) == (fix is not None)
    assert (fix or "") in failure


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
    assert run_in_folder(lambda paths: None, tmp_path) == (0, "")


def test_the_failure_file_of_a_zoo_error_contains_its_message_without_a_trace(tmp_path: Path, capsys: Any) -> None:
    status, failure = run_in_folder(make_failing_job(ZooError("column 'x' is missing", "add it.", "FZ-D999")), tmp_path)
    assert (status, failure) == (1, "column 'x' is missing\nFix: add it. [FZ-D999]")
    out = capsys.readouterr()
    assert "column 'x' is missing" in out.out
    assert "Traceback" not in out.out + out.err


def test_the_failure_file_of_any_other_error_contains_the_cause_and_the_end_of_the_trace(tmp_path: Path) -> None:
    status, failure = run_in_folder(make_failing_job(RuntimeError("x" * 5000 + "é" * 5000)), tmp_path)
    assert status == 1
    assert failure.startswith("RuntimeError: xxx")
    assert "Traceback" in failure
    assert len(failure.encode()) <= 20_000


def test_the_cause_is_within_the_characters_that_sagemaker_shows(tmp_path: Path) -> None:
    def deep(depth: int) -> None:
        if depth == 0:
            raise ValueError("the cause " + "\ud800é" * 3)
        deep(depth - 1)

    status, failure = run_in_folder(lambda paths: deep(300), tmp_path)
    assert status == 1
    assert failure[:1024].startswith("ValueError: the cause ")
    assert failure.rstrip().endswith("é")
    assert "in deep" in failure
    assert len((tmp_path / "output/failure").read_bytes()) <= 20_010


def test_a_long_message_is_cut_between_characters(tmp_path: Path) -> None:
    _, failure = run_in_folder(make_failing_job(ZooError("x" + "é" * 40_000)), tmp_path)
    assert failure == "x" + "é" * 9_999


def test_an_out_of_memory_error_is_recognized_by_name_and_has_a_fix(tmp_path: Path) -> None:
    class OutOfMemoryError(RuntimeError):
        """Has the name of torch's class."""

    for error in (OutOfMemoryError("CUDA out of memory. " + "x" * 3000), MemoryError()):
        _, failure = run_in_folder(make_failing_job(error), tmp_path)
        assert failure.startswith(type(error).__name__)
        assert "lower batch_size" in failure[:1024]


def test_a_job_receives_its_paths_and_ignores_command_line_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--batch_size", "3"])
    received: list[Paths] = []
    assert run_in_folder(received.append, tmp_path) == (0, "")
    assert received == [Paths(tmp_path, tmp_path / "checkpoints", Path.home() / ".cache/fusionzoo")]


@pytest.mark.parametrize("error", [GeneratorExit(), SystemExit(3), SystemExit(0), MemoryError("no"), OSError(28, "x")])
def test_any_exception_gives_status_1_and_a_failure_file(error: BaseException, tmp_path: Path) -> None:
    status, failure = run_in_folder(make_failing_job(error), tmp_path)
    assert status == 1
    assert failure.startswith(type(error).__name__)


def test_ctrl_c_before_the_training_is_reported_without_a_stack_trace(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, failure = run_in_folder(make_failing_job(KeyboardInterrupt()), tmp_path)
    assert (status, failure) == (1, str(TerminatedError(None)))
    assert "Traceback" not in capsys.readouterr().out


IMPORTING = """
import sys
from fusionzoo.sagemaker import run_job

def job(paths):
    import slow_library

sys.exit(run_job(job, {"SAGEMAKER_BASE_DIR": sys.argv[1]}))
"""


SLOW_LIBRARY = """
import time
try:
    print("importing", flush=True)
    time.sleep(60)
except Exception:
    pass
"""


def test_sigterm_while_libraries_are_imported_is_in_the_failure_file(tmp_path: Path) -> None:
    (tmp_path / "slow_library.py").write_text(SLOW_LIBRARY)
    process = subprocess.Popen(
        [sys.executable, "-c", IMPORTING, tmp_path],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "importing\n"
    process.send_signal(signal.SIGTERM)
    out = process.communicate()[0]
    assert process.returncode == 1
    assert "stopped by SIGTERM" in (tmp_path / "output/failure").read_text()
    assert "Traceback" not in out


def test_the_sigterm_handler_is_restored_and_one_of_the_caller_stays(tmp_path: Path) -> None:
    def job(paths: Paths) -> None:
        handlers.append(signal.getsignal(signal.SIGTERM))

    handlers: list[Any] = []
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    run_in_folder(job, tmp_path)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        run_in_folder(job, tmp_path)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert handlers[0] is not signal.SIG_DFL
    assert handlers[1] is signal.SIG_IGN


def test_the_failure_file_contains_the_cause_of_the_first_process_that_failed(tmp_path: Path) -> None:
    def job(paths: Paths) -> None:
        paths.failure.parent.mkdir(parents=True, exist_ok=True)
        paths.failure.write_text("the first cause")
        raise ValueError("a later one")

    assert run_in_folder(job, tmp_path) == (1, "the first cause")


def block_with_file(base: Path) -> None:
    (base / "output").write_text("in the way")


def block_with_folder(base: Path) -> None:
    (base / "output/failure").mkdir(parents=True)


def block_with_full_folder(base: Path) -> None:
    (base / "output/failure/below").mkdir(parents=True)


def block_with_link(base: Path) -> None:
    (base / "output").symlink_to(base / "nowhere")


def block_with_link_to_itself(base: Path) -> None:
    (base / "output").symlink_to(base / "output")


def block_with_pipe(base: Path) -> None:
    (base / "output").mkdir()
    os.mkfifo(base / "output/failure")


BLOCKS = [block_with_file, block_with_folder, block_with_full_folder, block_with_link, block_with_link_to_itself]


@pytest.mark.parametrize("block", BLOCKS)
@pytest.mark.parametrize("error", [ZooError("the cause \ud800", "a fix.", "FZ-D999"), ValueError("the cause")])
def test_a_blocked_failure_file_never_hides_the_cause_and_the_status(
    block: Callable[[Path], None], error: Exception, tmp_path: Path, capfd: Any
) -> None:
    block(tmp_path)
    assert run_job(make_failing_job(error), {"SAGEMAKER_BASE_DIR": str(tmp_path)}) == 1
    out, err = capfd.readouterr()
    cause = "the cause" if (tmp_path / "output").is_dir() else f"{tmp_path / 'output/data'} cannot be written"
    assert cause in out
    assert cause in err
    assert err.count("\n") <= 2
    assert out.count("Traceback") == isinstance(error, ValueError) * (cause == "the cause")


def test_a_pipe_as_failure_file_is_replaced(tmp_path: Path) -> None:
    block_with_pipe(tmp_path)
    assert run_in_folder(make_failing_job(ZooError("the cause")), tmp_path) == (1, "the cause")


@pytest.mark.parametrize("stderr", ["None", "open('/dev/full', 'w')", "closed"])
def test_without_standard_error_the_status_is_1_too(stderr: str, tmp_path: Path) -> None:
    block_with_file(tmp_path)
    program = (
        "import sys\nfrom fusionzoo.sagemaker import run_job\nclosed = open('/dev/null', 'w')\nclosed.close()\n"
        f"sys.stderr = {stderr}\nsys.exit(run_job(lambda paths: None, {{'SAGEMAKER_BASE_DIR': {str(tmp_path)!r}}}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode in (1, 120)  # 120: Python itself could not flush standard error
    assert "cannot be written" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_each_log_line_is_printed_once_and_the_handlers_are_restored(tmp_path: Path, capsys: Any) -> None:
    def job(paths: Paths) -> None:
        logging.getLogger("fusionzoo.somewhere").info("a line")

    before = list(logging.getLogger("fusionzoo").handlers)
    for _ in range(2):
        run_in_folder(job, tmp_path)
    assert capsys.readouterr().out.count("INFO a line\n") == 2
    assert logging.getLogger("fusionzoo").handlers == before


def test_the_notes_of_an_exception_are_part_of_the_cause(tmp_path: Path) -> None:
    error = ValueError("y" * 3000)
    add_note(error, "in the hook build_model of acme-fusion 1.0")
    assert "in the hook build_model of acme-fusion 1.0" in run_in_folder(make_failing_job(error), tmp_path)[1][:1024]
