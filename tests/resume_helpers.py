"""Helpers of the tests that stop a job and start it again."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from fusionzoo.training.module import TrainingModule
from process_helpers import run_in_child
from shop import JobFolder


def kill_at_call(cls: type, method: str, call: int) -> None:
    """Make this process kill itself before the method's call number `call`, from 0."""
    calls_left, original = [call], getattr(cls, method)

    def call_or_die(*args: Any, **kwargs: Any) -> Any:
        if calls_left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        calls_left[0] -= 1
        return original(*args, **kwargs)

    setattr(cls, method, call_or_die)


def run_until_killed(job: JobFolder, cls: type, method: str, call: int) -> int:
    """Run the job in a process that kills itself before this call; return -9, or its exit status without a call."""

    def work() -> int:
        kill_at_call(cls, method, call)
        return job.run()

    return run_in_child(work, job.root / "log.txt")


def read_results(job: JobFolder) -> dict[str, Any]:
    """Return all results of the job that must be bit-identical."""
    report = json.loads((job.output / "metrics.json").read_text())
    weights = torch.load(job.model / "model.pth", weights_only=True)
    return {
        "splits": report["splits"],
        "training": report["training"],
        "weights": {name: value.numpy().tobytes() for name, value in weights.items()},
        "test": pq.read_table(job.output / "test_predictions.parquet").to_pydict(),
        "checkpoints": sorted(path.name for path in (job.root / "checkpoints").iterdir()),
    }


def copy_input(job: JobFolder, tmp_path: Path) -> JobFolder:
    """Return the same job in another folder, not yet run."""
    shutil.copytree(job.root / "input", tmp_path / "ml/input")
    return JobFolder(tmp_path / "ml")


def resume(job: JobFolder) -> str:
    """Run the job again to its end, and return the log of that run."""
    log = job.root / "again.txt"
    log.unlink(missing_ok=True)
    assert run_in_child(job.run, log) == 0, log.read_text()
    return log.read_text()


def run_with_signals(job: JobFolder, call: int, *numbers: int, ctrl_c: Any = signal.default_int_handler) -> int:
    """Send these signals to the job's process in training step number `call`, from 0; return the exit status."""

    def work() -> int:
        signal.signal(signal.SIGINT, ctrl_c)  # the tests themselves may run in the background, which ignores Ctrl-C
        calls_left, original = [call], TrainingModule.training_step

        def step(self: TrainingModule, *arguments: Any) -> Any:
            if calls_left[0] == 0:
                for number in numbers:
                    os.kill(os.getpid(), number)
            calls_left[0] -= 1
            return original(self, *arguments)

        TrainingModule.training_step = step  # type: ignore[method-assign]
        return job.run()

    return run_in_child(work, job.root / "log.txt")
