"""The Hugging Face hub: one request, offline mode, and cached models."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from encoder_folders import save_encoder


@contextmanager
def serve_hub(status: int, code: str = "") -> Iterator[tuple[str, list[str]]]:
    """Serve a hub that answers every request with this status; yield its address and the requests."""
    requests: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            if "/resolve/" in self.path:  # the client's other requests are not about the model
                requests.append(self.path)
            self.send_response(status)
            if code:
                self.send_header("X-Error-Code", code)
            self.end_headers()

        do_GET = do_HEAD

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


FIND = """
import sys
from fusionzoo.data.text.pretrained_files import PretrainedSource, find_pretrained
from fusionzoo.errors import ZooError
try:
    print("FOUND", find_pretrained(PretrainedSource("tokenizer", sys.argv[1])))
except ZooError as error:
    print(error)
"""


def find_in_new_process(name: str, endpoint: str, home: Path, **environment: str) -> tuple[str, float]:
    """Return what `find_pretrained` says in a process with this hub, and the seconds that it took."""
    offline = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "NO_PROXY": "127.0.0.1"}
    begin = time.monotonic()
    result = subprocess.run(
        [sys.executable, "-c", FIND, name],
        env={**os.environ, **offline, **environment},
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return result.stdout + result.stderr, time.monotonic() - begin


@pytest.mark.parametrize("status", [503, None])
def test_an_unreachable_hub_gets_one_request_and_the_error_has_a_fix(tmp_path: Path, status: int | None) -> None:
    if status is None:
        text, _ = find_in_new_process("bert-base-uncased", "http://127.0.0.1:9", tmp_path)
    else:
        with serve_hub(status) as (endpoint, requests):
            text, _ = find_in_new_process("bert-base-uncased", endpoint, tmp_path)
        assert len(requests) == 1
    assert 'tokenizer = "bert-base-uncased"' in text
    assert "cannot be reached" in text
    assert "channel named pretrained" in text
    assert "encoder_name" not in text
    assert "Retrying" not in text


def test_a_name_unknown_to_the_hub_is_an_error_after_one_request(tmp_path: Path) -> None:
    with serve_hub(404, "RepoNotFound") as (endpoint, requests):
        text, _ = find_in_new_process("bert-base-uncasedd", endpoint, tmp_path)
    assert len(requests) == 1
    assert "neither a folder nor a public model" in text


def test_a_cached_model_is_used_if_the_hub_is_unreachable(tmp_path: Path) -> None:
    repository = tmp_path / "hub/models--bert-base-uncased"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("a" * 40)
    snapshot = repository / "snapshots" / ("a" * 40)
    save_encoder(snapshot)
    text, _ = find_in_new_process("bert-base-uncased", "http://127.0.0.1:9", tmp_path)
    assert f"FOUND {snapshot}" in text


def test_offline_mode_sends_no_request(tmp_path: Path) -> None:
    with serve_hub(200) as (endpoint, requests):
        text, _ = find_in_new_process("bert-base-uncased", endpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert not requests
    assert "channel named pretrained" in text
