"""Import plugins in a fresh process, so that nothing they do affects this one."""

from __future__ import annotations

import json
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fusionzoo import errors
from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.fresh_python import kill_if_running, start_function
from fusionzoo.registry.providers import Provider, normalize_name

RESULTS_FILE, LOG_FILE = "results.jsonl", "log.txt"
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class ImportResult:
    """The result of loading a provider: its problem and the fix, or the tasks that it supports."""

    provider: Provider
    problem: tuple[str, str] | None
    tasks: tuple[str, ...] = ()


def import_in_isolation(
    providers: Sequence[Provider], seconds: float, stop: threading.Event, search: Sequence[str] | None = None
) -> Iterator[ImportResult]:
    """Load each provider and yield the result, in their order.

    The providers share one process. If one of them ends the process, the rest are loaded in another one.

    Args:
        providers: what to load.
        seconds: the timeout of one process.
        stop: ends the current process when set.
        search: the folders in which the providers were found, by default `sys.path`.
    """
    remaining = list(providers)
    while remaining and not stop.is_set():
        with tempfile.TemporaryDirectory(prefix="fusionzoo-doctor-") as folder:
            abnormal_end, is_late = _run_child(remaining, Path(folder), seconds, stop, search)
            results = _read_lines(Path(folder) / RESULTS_FILE)
            last_output = next(reversed(_read_lines(Path(folder) / LOG_FILE)), "")
        for provider, result in zip(remaining, results, strict=False):
            yield _parse_result(provider, result)
        if abnormal_end:
            culprit = remaining[min(len(results), len(remaining) - 1)]
            error = errors.BrokenPluginError.ended_python(culprit.claim, abnormal_end, last_output, is_late)
            yield ImportResult(culprit, error.parts)
        remaining = remaining[len(results) + 1 :]


def _parse_result(provider: Provider, line: str) -> ImportResult:
    result = json.loads(line)
    problem = result["problem"]
    return ImportResult(provider, None if problem is None else (problem[0], problem[1]), tuple(result["tasks"]))


def _run_child(
    providers: Sequence[Provider], folder: Path, seconds: float, stop: threading.Event, search: Sequence[str] | None
) -> tuple[str, bool]:
    """Let a fresh process write its results into the folder.

    Return how it ended, empty if it ended normally, and whether it took too long.
    """
    job = {
        "search": search,
        "providers": [[provider.entry_point.group, *_provider_key(provider)] for provider in providers],
        "results": str(folder / RESULTS_FILE),
    }
    child = start_function(__name__, write_results.__name__, job, folder / LOG_FILE)
    try:
        deadline = time.monotonic() + seconds
        while child.poll() is None and time.monotonic() < deadline and not stop.wait(POLL_SECONDS):
            pass
    finally:
        is_late = kill_if_running(child)
    if is_late:
        return f"did not end within {seconds:g} seconds", True
    status = child.returncode
    if status < 0:
        return f"was killed by signal {-status} ({signal.strsignal(-status)})", False
    is_complete = len(_read_lines(folder / RESULTS_FILE)) == len(providers)
    return "" if is_complete and status == 0 else f"ended with status {status}", False


def write_results(job: dict[str, Any]) -> None:
    """In the fresh process, load each provider and append a line with its problem and its tasks to the results."""
    from fusionzoo.registry.description import describe_plugin

    for group, *key in job["providers"]:
        candidates = (p for providers in Registry.discover(group, job["search"]).values() for p in providers)
        provider = next(candidate for candidate in candidates if list(_provider_key(candidate)) == key)
        result: dict[str, Any] = {"problem": None, "tasks": ()}
        try:
            result["tasks"] = describe_plugin(provider).tasks
        except errors.ZooError as error:
            result["problem"] = error.parts
        with Path(job["results"]).open("a", encoding="ascii") as file:
            file.write(json.dumps(result) + "\n")


def _provider_key(provider: Provider) -> tuple[str, str, str]:
    """Return what distinguishes a provider from all others of its group."""
    return provider.entry_point.name, provider.entry_point.value, normalize_name(provider.distribution)


def _read_lines(path: Path) -> list[str]:
    return path.read_text("utf-8", "replace").splitlines() if path.exists() else []
