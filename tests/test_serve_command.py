"""`fusionzoo serve` as a process of its own: gunicorn, two workers, and clients over HTTP."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cli_helpers import invoke
from fusionzoo import errors
from fusionzoo.cli.commands import app
from fusionzoo.server import gunicorn_server
from fusionzoo.server.server_limits import THREADS
from fusionzoo.serving.predictor import Predictor
from prediction_helpers import predict, read_frame, read_test_rows
from process_helpers import run_in_child
from serve_helpers import CSV, FORMATS, JSONL, encode
from server_process import OPEN_FILES, RunningServer, read_answer, serve
from shop import JobFolder

ROOT = Path(__file__).parents[1]
SLOW_CLIENTS = 2 * THREADS + 20  # more than the threads of both processes


@pytest.mark.parametrize(("content_type", "suffix"), FORMATS)
def test_the_server_gives_the_predictions_of_fusionzoo_predict(
    running_server: RunningServer, trained_job: JobFolder, tmp_path: Path, content_type: str, suffix: str
) -> None:
    rows, source = encode(read_test_rows(trained_job), content_type), tmp_path / f"rows.{suffix}"
    source.write_bytes(rows)
    result = predict(trained_job, source, tmp_path / "predictions.parquet", "--no-labels")
    assert result.exit_code == 0, result.output
    expected = read_frame(tmp_path / "predictions.parquet")

    status, content = running_server.request("POST", "/invocations", rows, Content_Type=content_type, Accept=JSONL)
    assert status == 200, content
    actual = pd.DataFrame(map(json.loads, content.decode().splitlines()))
    assert list(actual.columns) == [*expected.columns, "model_version"]
    assert actual["id"].astype(str).tolist() == expected["id"].astype(str).tolist()
    assert actual["predicted_target"].tolist() == expected["predicted_target"].tolist()
    for name in ("prob_0", "prob_1"):
        np.testing.assert_allclose(actual[name], expected[name], rtol=0, atol=1e-6)
    checksum = json.loads((trained_job.model / "manifest.json").read_text())["checksum"]
    assert set(actual["model_version"]) == {checksum[:12]}


def test_metrics_are_those_of_all_processes(running_server: RunningServer) -> None:
    def count(name: str) -> float:
        text = running_server.request("GET", "/metrics")[1].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    rows, series = (
        b"message,country,price,visits\na,de,1e30,2\n",
        'fusionzoo_requests_total{path="/invocations",status="200"}',
    )
    clipped = 'fusionzoo_unusual_values_total{column="price",kind="clipped"}'
    before = count(series), count("fusionzoo_rows_total"), count(clipped)
    for _ in range(20):
        assert running_server.request("POST", "/invocations", rows, Content_Type=CSV)[0] == 200
    assert [count(series) for _ in range(6)] == [before[0] + 20] * 6, "whichever process answers"
    assert (count("fusionzoo_rows_total"), count(clipped)) == (before[1] + 20, before[2] + 20)


ROWS = b"message,country,price,visits\na,de,1,2\nb,fr,3,4\n"
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"


def make_chunk(content: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(content), content)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (CHUNKED + make_chunk(ROWS[:5]) + make_chunk(ROWS[5:]) + make_chunk(b""), 200),
        (CHUNKED + make_chunk(ROWS[:-9]), 400),
        (CHUNKED + make_chunk(ROWS[:-9]) + b"ff\r\nb,fr", 400),
        (CHUNKED + make_chunk(ROWS[:-9]) + b"zz\r\nb,fr\r\n", 400),
        (HEAD + b"Content-Length: %d\r\n\r\n" % len(ROWS) + ROWS[:-9], 400),
        (CHUNKED + make_chunk(ROWS + b"c,it,5,6\n" * 120_000) + make_chunk(b""), 413),
    ],
)
def test_a_body_that_is_not_complete_is_never_scored(
    running_server: RunningServer, content: bytes, status: int
) -> None:
    with running_server.connect(content) as connection:
        connection.shutdown(socket.SHUT_WR)
        answer = read_answer(connection)
    assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]


def test_slow_clients_cannot_hold_a_thread(running_server: RunningServer) -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed < OPEN_FILES:
        pytest.skip(f"{SLOW_CLIENTS} slow and {2 * SLOW_CLIENTS} silent clients need more than {allowed} open files")
    head = b"POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Length: 1000\r\n"
    with ExitStack() as stack:
        silent = [stack.enter_context(running_server.connect(b"")) for _ in range(2 * SLOW_CLIENTS)]
        begins = [head, head + b"\r\nmessage", b"GET /ping HTTP/1.1\r\n"]  # slow headers, a slow body
        slow = [stack.enter_context(running_server.connect(begins[i % 3])) for i in range(SLOW_CLIENTS)]
        assert running_server.request("GET", "/ping") == (200, b"")
        answers = [read_answer(connection) for connection in slow]
        silent[0].sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert read_answer(silent[0]).startswith(b"HTTP/1.1 200"), "its connection was kept, without a thread"
    late, refused = b"HTTP/1.1 408", b"HTTP/1.1 503"  # the last threads of a process refuse a slow body
    assert all(answer == b"" or answer.startswith((late, refused)) for answer in answers)
    assert sum(answer != b"" for answer in answers) == SLOW_CLIENTS // 3, "those with a slow body"


def test_sigterm_lets_requests_finish_and_then_ends_the_server(trained_job: JobFolder, tmp_path: Path) -> None:
    body = b"message,country,price,visits\na,de,1,2\n"
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: {len(body)}\r\n\r\n"
    with serve(trained_job.model, tmp_path, "--workers", "1") as running:
        connection = running.connect(head.encode() + body[:20])
        time.sleep(0.3)  # the server has begun to read it
        running.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        with pytest.raises(ConnectionRefusedError):
            running.connect(b"")
        connection.sendall(body[20:])
        answer = read_answer(connection)
        assert answer.startswith(b"HTTP/1.1 200"), answer
        assert running.process.wait(30) == 0
    line = json.loads((tmp_path / "access.txt").read_text().splitlines()[-1])
    assert (line["status"], line["rows"]) == (200, 1)


def test_sigterm_while_the_model_is_loaded_ends_the_server_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(gunicorn_server, "MEMORY_FOLDER", str(folder))
    monkeypatch.setattr(Predictor, "load", load)
    status = run_in_child(lambda: app(["serve", "--port", "0"], standalone_mode=False), tmp_path / "log.txt")
    assert status == 143, (tmp_path / "log.txt").read_text()
    assert list(folder.iterdir()) == []


def test_temporary_files_are_in_memory_or_on_a_disk_with_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (memory := tmp_path / "memory").mkdir()
    monkeypatch.setattr(gunicorn_server, "MEMORY_FOLDER", str(memory))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    free = {memory: 10**9, tmp_path: 10**9}
    monkeypatch.setattr(gunicorn_server, "free_space", free.get)
    assert gunicorn_server.find_temporary_folder() == str(memory)
    free[memory] = 60_000
    assert gunicorn_server.find_temporary_folder() == str(tmp_path)
    free[tmp_path] = 60_000
    with pytest.raises(errors.OutputError, match="No space left"):
        gunicorn_server.find_temporary_folder()


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize(
    "arguments",
    [
        *(["serve", "--max-body-mb"], ["serve", "--max-held-mb"], ["serve", "--queue-seconds"]),
        *(["serve", "--request-seconds"], ["doctor", "--timeout"]),
        ["contract", "verify", "train.py", "--contract", "TRAIN_CONTRACT", "--run", "--timeout"],
    ],
    ids=" ".join,
)
def test_a_number_without_a_use_is_refused_before_anything_starts(arguments: list[str], value: str) -> None:
    done = invoke(*arguments, value)
    assert done.exit_code == 2, done.output
    assert f"'{arguments[-1]}'" in done.stderr


def test_a_model_folder_that_is_damaged_is_never_served(trained_job: JobFolder, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fusionzoo.cli", "serve", "--model", str(tmp_path), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "has no manifest.json" in done.stderr
    assert "Traceback" not in done.stderr
