"""Each command reports a standard output that cannot be written, and ends quietly if its reader has ended."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from shop import JobFolder

CLI = [sys.executable, "-m", "fusionzoo.cli"]
TRAIN_PY = str(Path(__file__).parents[1] / "train.py")
COMMANDS = [
    ["--help"],
    ["list"],
    ["list", "--json"],
    ["show", "core"],
    ["show", "cnn", "--json"],
    ["check", "cnn", "--only", "unknown_settings_are_rejected"],
    ["contract", "show"],
    ["contract", "show", "pytorch_train", "--json"],
    ["contract", "validate", TRAIN_PY, "--contract", "pytorch_train"],
    ["new", "my_idea"],
]
each_command = pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)


def run(arguments: list[str], folder: Path, stdout: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True, cwd=folder)


def run_on_full_disk(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    with Path("/dev/full").open("w") as full:
        return run(arguments, folder, full.fileno())


def run_without_reader(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return run(arguments, folder, writer)
    finally:
        os.close(writer)


def evaluate(job: JobFolder, folder: Path) -> list[str]:
    source = str(job.root / "input/data/test")
    return ["evaluate", "--model", str(job.model), "--input", source, "--output", str(folder / "evaluation")]


@each_command
def test_a_full_disk_is_an_error_of_one_line_with_its_fix(arguments: list[str], tmp_path: Path) -> None:
    done = run_on_full_disk(arguments, tmp_path)
    assert done.returncode == 1, done.stderr
    message, fix = done.stderr.splitlines()[-2:]
    assert message == "error: Standard output cannot be written (No space left on device)."
    assert fix.startswith("Fix: ")
    assert "Traceback" not in done.stderr


@each_command
def test_a_closed_pipe_ends_the_command_quietly(arguments: list[str], tmp_path: Path) -> None:
    done = run_without_reader(arguments, tmp_path)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_evaluation_keeps_its_files_if_its_metrics_cannot_be_printed(trained_job: JobFolder, tmp_path: Path) -> None:
    done = run_on_full_disk(evaluate(trained_job, tmp_path), tmp_path)
    assert done.returncode == 1
    assert "error: Standard output cannot be written (No space left on device)." in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "evaluation/metrics.json").exists()
    done = run_without_reader(evaluate(trained_job, tmp_path / "other"), tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (141, False)


def test_a_problem_has_its_own_message_if_the_disk_is_full(tmp_path: Path) -> None:
    done = run_on_full_disk(["show", "cn"], tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "'cnn'" in done.stderr


def test_the_usage_of_a_wrong_command_line_is_on_standard_error(tmp_path: Path) -> None:
    done = run_on_full_disk(["list", "--unknown"], tmp_path)
    assert done.returncode == 2
    assert "No such option" in done.stderr
