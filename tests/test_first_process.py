"""SIGTERM ends a command that is the first process of a container, although the kernel has no default action there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli_helpers import invoke
from fusionzoo.cli import first_process
from process_helpers import run_in_child

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="a process id namespace needs root")


@pytest.fixture
def default_handler() -> Iterator[None]:
    """SIGTERM has its default action, also after the test."""
    previous = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, previous)


@pytest.fixture
def first(monkeypatch: pytest.MonkeyPatch, default_handler: None) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)


@needs_root
@pytest.mark.parametrize("command", ["serve", "train", "predict"])
def test_sigterm_ends_a_command_while_it_imports_its_libraries(tmp_path: Path, command: str) -> None:
    (tmp_path / "typer.py").write_text("import time\nprint('importing', flush=True)\ntime.sleep(600)\n")
    process = subprocess.Popen(
        [*CONTAINER, sys.executable, "-m", "fusionzoo.cli", command],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text()
        os.kill(int(children), signal.SIGTERM)
        assert process.wait(30) == 143
    finally:
        process.kill()
        process.wait()


def test_a_process_that_is_not_the_first_keeps_the_default(default_handler: None) -> None:
    first_process.end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_ignored_signal_stays_ignored(first: None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    first_process.end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_forked_process_ends_by_the_signal(tmp_path: Path, first: None, monkeypatch: pytest.MonkeyPatch) -> None:
    first_process.end_on_sigterm()
    monkeypatch.undo()

    def work() -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        return 0

    assert run_in_child(work, tmp_path / "log.txt") == -signal.SIGTERM


@pytest.mark.parametrize("arguments", [["train"], ["preprocess", "--label-name", "x"]])
def test_a_job_installs_its_own_handler(
    first: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    """It reports that it was stopped, and installs a handler only if there is none."""
    handlers: list[object] = []

    def run(*_: object) -> int:
        handlers.append(signal.getsignal(signal.SIGTERM))
        return 0

    monkeypatch.setattr("fusionzoo.sagemaker.run_job", run)
    monkeypatch.setattr("fusionzoo.preprocessing.preprocess_script.run_preprocess_job", run)
    first_process.end_on_sigterm()
    assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert invoke(*arguments, "--root", str(tmp_path)).exit_code == 0
    assert handlers == [signal.SIG_DFL]
