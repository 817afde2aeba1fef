"""Send requests over a number of connections, each with one request at a time, and print what the client saw.

    .venv/bin/python benchmarks/http_load.py PORT BODIES --connections 8 --requests 2000 --seconds 20 [--core 1]

A process of its own for `serve.py`. BODIES is a JSON file: the path, the headers and the bodies, which take turns.
Requests are prepared bytes and responses are only counted, so that this process needs little time of the processor.
Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import time
from collections import Counter
from itertools import cycle
from pathlib import Path
from typing import Any


class Load:
    """Requests that are taken in turn by all connections, and the seconds and status of each."""

    def __init__(self, requests: list[bytes], count: int, seconds: float) -> None:
        self._requests, self._left, self._deadline = cycle(requests), count, time.perf_counter() + seconds
        self.seconds: list[float] = []
        self.statuses: Counter[str] = Counter()

    async def run_connection(self, port: int) -> None:
        """Send one request after the other over one connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while self._left > 0 and time.perf_counter() < self._deadline:
            self._left -= 1
            began = time.perf_counter()
            writer.write(next(self._requests))
            head = await reader.readuntil(b"\r\n\r\n")
            lines = head.decode().lower().split("\r\n")
            lengths = [int(line.split(":")[1]) for line in lines if line.startswith("content-length:")]
            await reader.readexactly(lengths[0])
            self.seconds.append(time.perf_counter() - began)
            self.statuses[lines[0].split()[1]] += 1
        writer.close()

    async def run(self, port: int, connections: int) -> None:
        """Run all connections until the requests or the seconds are used up."""
        await asyncio.gather(*(self.run_connection(port) for _ in range(connections)))


def make_requests(document: dict[str, Any]) -> list[bytes]:
    """Return each request as it is sent."""
    headers = {"Host": "localhost", **document["headers"]}
    requests = []
    for body in document["bodies"]:
        content = body.encode()
        lines = [f"POST {document['path']} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
        requests.append("\r\n".join([*lines, f"Content-Length: {len(content)}", "", ""]).encode() + content)
    return requests


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("port", type=int)
    parser.add_argument("bodies", type=Path)
    parser.add_argument("--connections", type=int, default=1)
    parser.add_argument("--requests", type=int, default=2000, help="at most")
    parser.add_argument("--seconds", type=float, default=20, help="at most")
    parser.add_argument("--core", type=int, help="the core that this process uses")
    chosen = parser.parse_args()
    if chosen.core is not None:
        os.sched_setaffinity(0, {chosen.core})
    requests = make_requests(json.loads(chosen.bodies.read_text()))
    load = Load(requests, chosen.requests, chosen.seconds)
    began, cpu = time.perf_counter(), time.process_time()
    asyncio.run(load.run(chosen.port, chosen.connections))
    elapsed, ordered = time.perf_counter() - began, sorted(load.seconds)
    result = {
        "requests": len(ordered),
        "errors": len(ordered) - load.statuses["200"],
        "statuses": dict(load.statuses),
        "elapsed": elapsed,
        "p50_ms": 1000 * ordered[len(ordered) // 2],
        "p99_ms": 1000 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "client_cpu": time.process_time() - cpu,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
