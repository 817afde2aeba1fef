"""`fusionzoo serve` as a process of its own, and a client that sends any bytes to it."""

from __future__ import annotations

import http.client
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

OPEN_FILES = 4096  # for a test with many clients


@dataclass
class RunningServer:
    """A server process that listens at a port of this machine."""

    process: subprocess.Popen[str]
    port: int
    log: Path

    @property
    def invocations(self) -> str:
        """The address to which rows are sent."""
        return f"http://127.0.0.1:{self.port}/invocations"

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        """Send one request; return the status and the body. `Content_Type` means the header Content-Type."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response.status, content

    def connect(self, content: bytes) -> socket.socket:
        """Open a connection and send the beginning of a request."""
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(content)
        return connection

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.request("GET", "/ping") == (200, b""):
                return
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())


@contextmanager
def serve(model: Path, folder: Path, *options: str) -> Iterator[RunningServer]:
    """Run `fusionzoo serve` at a free port until the block ends."""
    command = [sys.executable, "-m", "fusionzoo.cli", "serve", "--model", str(model), "--port", "0", *options]
    with run_command(command, folder) as running:
        yield running


@contextmanager
def run_command(command: list[str], folder: Path, **variables: str) -> Iterator[RunningServer]:
    """Run a command that serves until the block ends."""
    environment = {**os.environ, **variables}
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # often 1,024, and the server inherits it
    if allowed < OPEN_FILES <= most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, most))
    log = folder / "log.txt"
    with log.open("w") as errors, (folder / "access.txt").open("w") as access:
        process = subprocess.Popen(
            command, stdout=access, stderr=errors, text=True, env=environment, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        while not (found := re.search(r"Listening at: http://[\d.]+:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        server = RunningServer(process, int(found[1]), log)
        server.wait_until_ready()
        yield server
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_answer(connection: socket.socket, seconds: float = 60) -> bytes:
    """Return what the server sends until it closes the connection."""
    content = b""
    connection.settimeout(seconds)
    try:
        while part := connection.recv(4096):
            content += part
    except ConnectionResetError:  # the server closed it while it had unread bytes
        pass
    return content
