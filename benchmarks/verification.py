"""Measure what the watch of `fusionzoo contract verify` adds to a job, as a ratio of times in one run.

    .venv/bin/python benchmarks/verification.py [--rounds 5] [--rows 2000] [--epochs 2]

Runs train.py on the same small job in turns: plainly, and under watch with everything that the verification does before
and after (copies, snapshots, checks), except loading the artifacts, which is printed on its own. Prints the median of
the ratios of CPU time and of wall-clock time. Goal: less than 1.2.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.contracts.verification.artifact_checks import check_artifacts
from fusionzoo.contracts.verification.complete_run_checks import check_complete_run
from fusionzoo.contracts.verification.script_run import run_script
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import RootKind, make_workspace
from fusionzoo.demo.data_set import generate_demo_data, write_hyperparameters

TRAIN_PY = Path(__file__).parents[1] / "train.py"


class Times(NamedTuple):
    """Seconds of this process and the ones that it started."""

    wall: float
    cpu: float


def measure(work: Callable[[], None]) -> Times:
    start = time.perf_counter(), _cpu_seconds()
    work()
    return Times(time.perf_counter() - start[0], _cpu_seconds() - start[1])


def _cpu_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def run_plainly(job: VerifiedJob) -> Times:
    """Run the job in a workspace as the verification makes it, but without watch, recorder and checks."""
    with make_workspace(RootKind.VARIABLE) as workspace:
        job.fill(workspace)
        command = workspace.make_command([str(job.script)], {})
        environ = {**command.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", "")}

        def run() -> None:
            subprocess.run(command.arguments, env=environ, cwd=command.folder, stdout=subprocess.DEVNULL, check=True)

        return measure(run)


def run_under_watch(job: VerifiedJob) -> tuple[Times, Times]:
    """Return the times of the run with everything around it, and of loading the artifacts."""
    loading: list[Times] = []

    def verify() -> None:
        with make_workspace(RootKind.VARIABLE) as workspace:
            job.fill(workspace)
            run = run_script(job, workspace)
            failed = [check for check in check_complete_run(job, run) if check.status.value == "failed"]
            assert not failed, failed
            loading.append(measure(lambda: [*check_artifacts(job, run)].clear()))

    total = measure(verify)
    return Times(total.wall - loading[0].wall, total.cpu - loading[0].cpu), loading[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        generate_demo_data(Path(folder), arguments.rows)
        write_hyperparameters(Path(folder), "multimodal_cnn", {"max_epochs": arguments.epochs})
        job = VerifiedJob(TRAIN_PY, PYTORCH_TRAIN_CONTRACT, RootKind.VARIABLE, input_folder=Path(folder))
        ratios: list[Times] = []
        for _ in range(arguments.rounds):
            plain = run_plainly(job)
            watched, loading = run_under_watch(job)
            ratios.append(Times(watched.wall / plain.wall, watched.cpu / plain.cpu))
            line = {"plain": plain._asdict(), "watched": watched._asdict(), "loading": loading._asdict()}
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()
        cpu = statistics.median(ratio.cpu for ratio in ratios)
        wall = statistics.median(ratio.wall for ratio in ratios)
        sys.stdout.write(f"median ratio: CPU time {cpu:.3f}, wall-clock time {wall:.3f}\n")


if __name__ == "__main__":
    main()
