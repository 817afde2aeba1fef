"""Jobs in processes of their own: start them, make a process die, and compare their results."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from conftest import Installer
from plugin_helpers import write_fusion
from shop import JobFolder

TRAIN_PY = Path(__file__).parents[1] / "train.py"
FORKING_TRAIN_PY = Path(__file__).parent / "forking_torchrun.py"
DETERMINISTIC = {
    "dropout": 0.0,
    "encoder_dropout": 0.0,
    "precision": "32",
}  # no random numbers that differ between processes


def start(
    job: JobFolder, processes: int = 2, program: list[str] | None = None, **environ: str
) -> subprocess.Popen[str]:
    """Start a job under torchrun, or with the arguments `program` of Python; its log goes to log.txt."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), str(TRAIN_PY)]
    log = (job.root / "log.txt").open("a")
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *(program or torchrun)],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(job.root), **environ},
        stdout=log,
        stderr=log,
        text=True,
        start_new_session=True,
    )


def run(job: JobFolder, processes: int = 2, program: list[str] | None = None, **environ: str) -> int:
    """Run a job to its end, and return its exit status."""
    running = start(job, processes, program, **environ)
    try:
        return running.wait(timeout=240)  # detecting a dead process takes up to a minute
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)


def read_log(job: JobFolder) -> str:
    return (job.root / "log.txt").read_text()


def run_forked(job: JobFolder, processes: int = 1, **environ: str) -> int:
    """Run a job like `run`, but in forks of this process, which saves 15 s of imports.

    With one process, this is `train.py`, which starts the processes of the setting `devices`; else it is torchrun.
    """
    from torch.distributed.run import main as torchrun

    from forking_torchrun import make_torchrun_fork, train

    def work() -> int:
        signal.alarm(240)  # its workers end when it dies
        os.environ |= {"SAGEMAKER_BASE_DIR": str(job.root), **environ}
        make_torchrun_fork()
        if processes == 1:
            train()
        torchrun(["--standalone", "--nproc-per-node", str(processes), str(TRAIN_PY)])
        return 0

    return run_in_child(work, job.root / "log.txt")


def run_in_child(work: Callable[[], int], log: Path) -> int:
    """Run `work` in a forked process; return its exit status, or minus the number of the signal that killed it."""
    pid = os.fork()
    if not pid:
        status = 1
        try:
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(out, 1)
            os.dup2(out, 2)
            sys.stdout = sys.stderr = os.fdopen(1, "w")
            status = work()
        except SystemExit as leaving:
            status = int(leaving.code or 0)
        finally:
            if (failure := sys.exc_info()[1]) is not None:
                traceback.print_exception(failure)
            sys.stdout.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def copy_job(job: JobFolder, folder: Path, **changes: Any) -> JobFolder:
    """Return a copy of a job in another folder, with changed settings."""
    shutil.copytree(job.root / "input", folder / "input")
    path = folder / "input/config/hyperparameters.json"
    settings = {**json.loads(path.read_text()), **{name: json.dumps(value) for name, value in changes.items()}}
    path.write_text(json.dumps(settings))
    return JobFolder(folder)


def read_metrics(job: JobFolder) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((job.output / "metrics.json").read_text())
    return metrics


def read_predictions(job: JobFolder, split: str) -> pd.DataFrame:
    return pq.read_table(job.output / f"{split}_predictions.parquet").to_pandas()


def get_probabilities(frame: pd.DataFrame) -> np.ndarray:
    return frame[[column for column in frame if column.startswith("prob_")]].to_numpy()


def load_weights(job: JobFolder) -> Mapping[str, torch.Tensor]:
    weights: Mapping[str, torch.Tensor] = torch.load(job.model / "model.pth", weights_only=True)
    return weights


def assert_same_results(actual: JobFolder, expected: JobFolder) -> None:
    """Assert that metrics, predictions and weights are equal, except for rounding."""
    assert read_metrics(actual)["training"]["steps"] == read_metrics(expected)["training"]["steps"]
    for split in ("val", "test"):
        metrics = [read_metrics(job)["splits"][split]["metrics"] for job in (actual, expected)]
        assert metrics[0] == pytest.approx(metrics[1], abs=1e-6)
        rows = [read_predictions(job, split) for job in (actual, expected)]
        assert rows[0].columns.tolist() == rows[1].columns.tolist()
        for name in rows[0]:
            columns = [frame[name].to_numpy() for frame in rows]
            if columns[0].dtype.kind == "f":
                assert np.allclose(*columns, rtol=1e-6, atol=1e-6), name
            else:
                assert columns[0].tolist() == columns[1].tolist(), name
    pairs = zip(load_weights(actual).values(), load_weights(expected).values(), strict=True)
    assert all(torch.allclose(a.float(), b.float(), atol=1e-5) for a, b in pairs)


DYING = """if self.training:
            self.steps = getattr(self, "steps", 0) + 1
            if self.steps == 6 and os.environ.get("RANK") == os.environ["DYING_RANK"]:
                {how}"""
RAISES = 'raise ValueError("the wheel of rank one is broken")'
KILLED = "os.kill(os.getpid(), signal.SIGKILL)"
SLEEPS = "time.sleep(3600)"


def make_dying_job(
    job: JobFolder, install: Installer, how: str, while_building: str = "pass", **changes: Any
) -> JobFolder:
    """Return a job with a model that runs `how` in its sixth step, in the process DYING_RANK.

    All processes run `while_building` when they build the model; `changes` are settings.
    """
    before = DYING.replace("{how}", how)
    source = write_fusion(imports="import os, signal, time", before=before, while_building=while_building)
    install("fusionzoo-dying", source=source, models=["dying"])
    settings = {**DETERMINISTIC, "checkpoint_every_n_steps": 2, "onnx": "required", **changes}
    return job.fill(**settings, model_class="dying")
