"""Whether plugins can be loaded, found out in a fresh process, where they may do whatever they like."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.registry.discovery import Provider, Registry, normalize_name

ANSWERS, LOG = "answers.jsonl", "log.txt"
TICK = 0.02  # seconds between two looks at a process
START = (
    "import json, sys; job = json.load(sys.stdin); sys.path[:] = job['path']; "
    "from fusionzoo.registry.isolated_import import answer; answer(job)"
)
Faulty = tuple[Provider, str, str]


def import_in_isolation(
    providers: Sequence[Provider], seconds: float, stop: threading.Event, search: Sequence[str] | None = None
) -> Iterator[Faulty]:
    """Which of them cannot be loaded, each with the problem and the remedy.

    They share a process, which may take so many seconds; after one that ends it, the rest are loaded in another.
    `search` holds the folders in which they were found, by default `sys.path`.
    """
    rest = list(providers)
    while rest and not stop.is_set():
        with tempfile.TemporaryDirectory(prefix="fusionzoo-doctor-") as folder:
            how = _run(rest, Path(folder), seconds, stop, search)
            answers = _lines(Path(folder) / ANSWERS)
            last_words = next(reversed(_lines(Path(folder) / LOG)), "")
        for provider, told in zip(rest, answers, strict=False):
            if parts := json.loads(told):
                yield provider, *parts
        if how:
            at_fault = rest[min(len(answers), len(rest) - 1)]
            yield at_fault, *errors.BrokenPluginError.ended_python(at_fault.claim, how, last_words).parts
        rest = rest[len(answers) + 1 :]


def _run(
    providers: Sequence[Provider], folder: Path, seconds: float, stop: threading.Event, search: Sequence[str] | None
) -> str:
    """Have a fresh process write its answers into the folder; how it ended, empty where it ended well."""
    job = {
        "path": [entry or str(Path.cwd()) for entry in sys.path],
        "search": search,
        "claims": [[one.entry_point.group, *_identity(one)] for one in providers],
        "answers": str(folder / ANSWERS),
    }
    child = _start(job, folder / LOG)
    try:
        end = time.monotonic() + seconds
        while child.poll() is None and time.monotonic() < end and not stop.wait(TICK):
            pass
    finally:
        unfinished = child.poll() is None
        if unfinished:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    if unfinished:
        return f"did not end within {seconds:g} seconds"
    status = child.returncode
    if status < 0:
        return f"was killed by signal {-status} ({signal.strsignal(-status)})"
    complete = len(_lines(folder / ANSWERS)) == len(providers)
    return "" if complete and status == 0 else f"ended with status {status}"


def _start(job: dict[str, Any], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-P", "-c", START],
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,  # so that it can be ended together with processes of its own
        )
    if child.stdin is not None:
        with suppress(BrokenPipeError), child.stdin as stream:  # it has ended already: its status tells
            stream.write(json.dumps(job).encode())
    return child


def answer(job: dict[str, Any]) -> None:
    """In the fresh process: load each claim, and write down a line with the problem and the remedy, or null."""
    from fusionzoo.registry.description import describe_plugin

    for group, *identity in job["claims"]:
        claims = (one for providers in Registry.discover(group, job["search"]).values() for one in providers)
        provider = next(one for one in claims if list(_identity(one)) == identity)
        parts: tuple[str, str] | None = None
        try:
            describe_plugin(provider)
        except errors.ZooError as error:
            parts = error.parts
        with Path(job["answers"]).open("a", encoding="ascii") as file:
            file.write(json.dumps(parts) + "\n")


def _identity(provider: Provider) -> tuple[str, str, str]:
    """What tells a claim from all others of its group."""
    return provider.entry_point.name, provider.entry_point.value, normalize_name(provider.distribution)


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []
