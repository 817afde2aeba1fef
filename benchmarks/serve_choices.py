"""Measure the choices that `fusionzoo serve` and `Predictor` make: groups of requests, and sizes of batches.

    FUSIONZOO_DATA=<folder with womens_clothing/> .venv/bin/python benchmarks/serve_choices.py --model-class bert|cnn

Data, model and cores are those of `serve.py`. The alternatives take turns (A B A B), and each number is a median. A
call uses one thread, and its time is that of the processor, which other programs on the machine affect less. `--only`
selects one of these measures:

- `groups`: requests of one row over 1, 8 and 64 connections, to a server that scores each of them alone
  (`MAX_GROUP` = 1) and to one that scores waiting requests together: requests per second, latency, and milliseconds of
  the processor per request;
- `rows`: milliseconds per row of one call with 1 to 32 rows;
- `tokens`: milliseconds per row of calls with 8 to 128 rows, and the peak memory of a new process that scores all rows
  in one call, for each maximum number of tokens of a batch (`MAX_BATCH_TOKENS`; with 1, every row is a batch);
- `application`: a session of onnxruntime on ready batches over the application of the server without HTTP, 64 rows of
  JSON per request.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from serve import LOADS, Setup, add_arguments, make_batches, open_setup, serve, show_load, show_ratios

from fusionzoo.artifacts.file_names import ONNX_FILE
from fusionzoo.artifacts.onnx_session import open_onnx_session
from fusionzoo.data.reading.rows import Rows
from fusionzoo.server import request_queue
from fusionzoo.server.application import create_application
from fusionzoo.server.scoring_service import ScoringService
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.server.server_metrics import ServerMetrics
from fusionzoo.serving import scoring
from fusionzoo.serving.predictor import Predictor

MAX_GROUPS = (1, request_queue.MAX_GROUP)
CALL_ROWS, TOKEN_CALL_ROWS = (1, 2, 4, 8, 16, 32), (8, 16, 32, 64, 128)
MAX_TOKENS = (1, 256, 512, 1024, 2048)
APPLICATION_ROWS = 64
SERVE_WITH_GROUP = """
import sys
from fusionzoo.cli.commands import app
from fusionzoo.server import request_queue
request_queue.MAX_GROUP = {}
app()
"""


def take_turns(works: Mapping[Any, Callable[[], object]], runs: int) -> dict[Any, list[float]]:
    """Return the seconds of the processor that this thread needs for each work, once per run.

    The first turn is not counted: it allocates memory.
    """
    seconds: dict[Any, list[float]] = {name: [] for name in works}
    for _ in range(runs + 1):
        for name, work in works.items():
            began = time.thread_time()
            work()
            seconds[name].append(time.thread_time() - began)
    return {name: measured[1:] for name, measured in seconds.items()}


def make_blocks(rows: pa.Table, columns: Sequence[str], size: int) -> list[Rows]:
    """Return the rows in blocks of `size` rows, as the reader of requests returns them."""
    blocks = []
    for start in range(0, len(rows), size):
        part = rows.slice(start, size).select(list(columns)).combine_chunks()
        arrays = {name: part.column(name).chunk(0) for name in columns}
        blocks.append(Rows(arrays, "rows", 1, typed=True))
    return blocks


def score_blocks(predictor: Predictor, blocks: Sequence[Rows], max_tokens: int = scoring.MAX_BATCH_TOKENS) -> None:
    """Score each block in a call of its own."""
    scoring.MAX_BATCH_TOKENS = max_tokens
    for block in blocks:
        list(predictor.predict_blocks([block]))


def measure_groups(setup: Setup) -> None:
    """Print the load of a server that scores each request alone, and of one that scores them together."""
    bodies = setup.write_bodies(1)
    with ExitStack() as stack:
        servers = {
            size: stack.enter_context(
                serve(setup, core=setup.cores[0], command=(sys.executable, "-c", SERVE_WITH_GROUP.format(size)))
            )
            for size in MAX_GROUPS
        }
        for server in servers.values():
            setup.send(server.port, bodies, 4, 50, setup.seconds)
        for connections in LOADS[1]:
            results: dict[int, list[dict[str, Any]]] = {size: [] for size in servers}
            cpu: dict[int, list[float]] = {size: [] for size in servers}
            for _ in range(setup.runs):
                for size, server in servers.items():
                    before = server.read_cpu()
                    results[size].append(setup.send(server.port, bodies, connections, setup.requests, setup.seconds))
                    cpu[size].append(1000 * (server.read_cpu() - before) / results[size][-1]["requests"])
            for size, measured in results.items():
                shown = show_load(f"groups of up to {size}, {connections} connections", measured)
                print(f"{shown}; server {statistics.median(cpu[size]):.2f} ms per request", flush=True)


def measure_rows(setup: Setup) -> None:
    """Print the time of a row by the number of rows of a call."""
    predictor = Predictor.load(setup.model, threads=1)
    works = {
        size: partial(score_blocks, predictor, make_blocks(setup.rows, predictor.columns, size)) for size in CALL_ROWS
    }
    for size, seconds in take_turns(works, setup.runs).items():
        print(
            f"calls with {size} rows: {1000 * statistics.median(seconds) / len(setup.rows):.2f} ms per row", flush=True
        )


def measure_tokens(setup: Setup) -> None:
    """Print the time of a row, and the peak memory, by the maximum number of tokens of a batch."""
    predictor = Predictor.load(setup.model, threads=1)
    for size in TOKEN_CALL_ROWS:
        blocks = make_blocks(setup.rows, predictor.columns, size)
        works = {tokens: partial(score_blocks, predictor, blocks, tokens) for tokens in MAX_TOKENS}
        for tokens, seconds in take_turns(works, setup.runs).items():
            speed = 1000 * statistics.median(seconds) / len(setup.rows)
            print(f"calls with {size} rows, up to {tokens:,} tokens: {speed:.2f} ms per row", flush=True)
    path = setup.folder / "rows.parquet"
    pq.write_table(setup.rows, path)
    for tokens in MAX_TOKENS:
        command = [sys.executable, __file__, "--model", str(setup.model), "--peak", str(path), "--tokens", str(tokens)]
        peak = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) / 1024
        print(f"{len(setup.rows):,} rows, up to {tokens:,} tokens: peak {peak:.0f} MB", flush=True)


def print_peak(model: Path, rows: Path, tokens: int) -> None:
    """Score the rows of a file in one call, and print the peak resident memory of this process in KB."""
    scoring.MAX_BATCH_TOKENS = tokens
    Predictor.load(model, threads=1).predict(rows)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def measure_application(setup: Setup) -> None:
    """Print the ratio of a bare session to the application of the server, both in this process."""
    path = setup.model / ONNX_FILE
    session = open_onnx_session(path, path.read_bytes(), threads=1)
    names = [model_input.name for model_input in session.get_inputs()]
    batches = [{name: batch[name] for name in names} for batch in make_batches(setup, APPLICATION_ROWS)]
    service = ScoringService(Predictor.load(setup.model, threads=1), ServerLimits())
    service.warm_up()
    client = create_application(service, ServerMetrics()).test_client()
    logging.disable(logging.CRITICAL)
    bodies = json.loads(setup.write_bodies(APPLICATION_ROWS).read_text())["bodies"]

    def answer() -> None:
        for body in bodies:
            response = client.post("/invocations", data=body, content_type="application/json")
            if response.status_code != 200:
                raise SystemExit(response.text)

    works = {"bare": lambda: [session.run(None, batch) for batch in batches], "application": answer}
    seconds = take_turns(works, setup.runs)
    rows = {"bare": len(setup.rows), "application": APPLICATION_ROWS * len(bodies)}
    ratios = [
        (bare / rows["bare"]) / (ours / rows["application"])
        for bare, ours in zip(seconds["bare"], seconds["application"], strict=True)
    ]
    print(f"application without HTTP, {APPLICATION_ROWS} rows: bare session over it {show_ratios(ratios)}", flush=True)


def main() -> None:
    measures = {
        "groups": measure_groups,
        "rows": measure_rows,
        "tokens": measure_tokens,
        "application": measure_application,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--only", choices=list(measures), help="measure only this")
    parser.add_argument("--peak", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tokens", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    os.environ["RAYON_NUM_THREADS"] = "1"  # of the tokenizer, whose threads `take_turns` would not count
    if chosen.peak is not None:
        print_peak(chosen.model, chosen.peak, chosen.tokens)
        return
    with open_setup(chosen) as setup:
        for name, measure in measures.items():
            if chosen.only in (None, name):
                measure(setup)


if __name__ == "__main__":
    main()
