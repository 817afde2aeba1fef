"""Jobs of scripts that are one process: exit status, message file, and what an earlier or failed run leaves."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fusionzoo import errors
from fusionzoo.contracts import MODEL_EVALUATION_CONTRACT
from fusionzoo.prediction.output_files import PredictionFile
from fusionzoo.sagemaker import run_job, run_script_job
from fusionzoo.sagemaker.failure_file import write_failure
from fusionzoo.training.monitoring.progress_bar import can_show_progress_bar


def run(root: Path, job: Callable[[Path], None]) -> int:
    return run_script_job(job, MODEL_EVALUATION_CONTRACT, "message", {"SAGEMAKER_BASE_DIR": str(root)})


def write_results(root: Path) -> None:
    folder = root / "processing/evaluation"
    (folder / "plots").mkdir(parents=True)
    (folder / "plots/test_roc.png").write_bytes(b"png")
    for name in ("metrics.json", "notes.txt"):
        (folder / name).write_text("{}")


def list_results(root: Path) -> set[str]:
    return {path.name for path in (root / "processing/evaluation").iterdir() if path.name[0] != "."}


def test_a_job_receives_the_root_folder_and_its_results_stay(tmp_path: Path) -> None:
    assert run(tmp_path, write_results) == 0
    assert list_results(tmp_path) == {"metrics.json", "notes.txt", "plots"}
    assert not (tmp_path / "output").exists()


def test_a_job_finds_no_results_and_no_message_of_an_earlier_run(tmp_path: Path) -> None:
    write_results(tmp_path)
    message = tmp_path / "output/message"
    message.parent.mkdir()
    message.write_text("stale")
    found: list[set[str]] = []
    assert run(tmp_path, lambda root: found.append(list_results(root))) == 0
    assert found == [{"notes.txt", "_earlier_run"}]
    assert not message.exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.TerminatedError(None), str(errors.TerminatedError(None))),
        (ValueError("a bug"), "ValueError: a bug"),
        (SystemExit(2), "SystemExit: 2"),
    ],
)
def test_a_failed_job_leaves_its_cause_and_no_results(error: BaseException, expected: str, tmp_path: Path) -> None:
    def fail(root: Path) -> None:
        write_results(root)
        raise error

    assert run(tmp_path, fail) == 1
    assert (tmp_path / "output/message").read_text().startswith(expected)
    assert list_results(tmp_path) == {"notes.txt"}


def test_a_job_that_sigterm_stops_leaves_no_results(tmp_path: Path) -> None:
    def stop(root: Path) -> None:
        write_results(root)
        os.kill(os.getpid(), signal.SIGTERM)

    assert run(tmp_path, stop) == 1
    assert "SIGTERM" in (tmp_path / "output/message").read_text()
    assert list_results(tmp_path) == {"notes.txt"}


def test_results_that_cannot_be_deleted_do_not_hide_the_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(root: Path) -> None:
        def refuse(results: object) -> None:
            raise errors.OutputError("results stay", "none", "FZ-O000")

        monkeypatch.setattr("fusionzoo.sagemaker.script_results.ScriptResults.delete", refuse)
        raise ValueError("the cause")

    assert run(tmp_path, fail) == 1
    assert (tmp_path / "output/message").read_text().startswith("ValueError: the cause")
    assert "results stay" in capsys.readouterr().out


def test_a_job_without_a_folder_for_temporary_files_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none(**options: str) -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.delenv("MPLCONFIGDIR", raising=False)
    monkeypatch.setattr(tempfile, "mkdtemp", find_none)
    assert run(tmp_path / "script", write_results) == 1
    assert "set TMPDIR" in (tmp_path / "script/output/message").read_text()
    environ = {"SAGEMAKER_BASE_DIR": str(tmp_path / "job")}
    assert run_job(lambda paths: pytest.fail("the job began"), environ) == 1
    assert "FZ-O035" in (tmp_path / "job/output/failure").read_text()


def test_a_failure_file_that_a_full_disk_cuts_does_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class OnFullDisk(io.StringIO):
        def flush(self) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        def close(self) -> None:
            """Whatever is left is lost."""

    def create(path: Path, mode: str, encoding: str) -> OnFullDisk:
        path.touch()
        return OnFullDisk()

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", create)
        write_failure(tmp_path / "failure", "the first cause")
    write_failure(tmp_path / "failure", "the cause of another process")
    assert (tmp_path / "failure").read_text() == "the cause of another process"


def test_a_program_without_standard_output_works_or_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"{shlex.quote(sys.executable)} -m fusionzoo.cli list >&-"
    listed = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False)
    assert (listed.returncode, listed.stderr) == (0, "")
    monkeypatch.setattr(sys, "stdout", None)
    assert not can_show_progress_bar()
    printed = PredictionFile((), "-", None, "csv", gzipped=False)
    with pytest.raises(errors.OutputError, match="Standard output is closed"):
        printed.write(lambda file: file.write(b"1"))
