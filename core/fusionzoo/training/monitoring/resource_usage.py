"""The time, throughput, and memory of a run, for the last log lines and for metrics.json."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fusionzoo.training.monitoring.throughput import ThroughputReading


@dataclass(frozen=True)
class Usage:
    """What one process trained, and its peak memory in bytes."""

    trained: ThroughputReading
    memory: int
    gpu_memory: int | None  # None without a GPU


def measure_usage(trained: ThroughputReading) -> Usage:
    """Return the usage of this process: the peak resident set size, and the peak memory that torch held on the GPU."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux reports KiB
    return Usage(trained, memory, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None)


def merge_usage(usages: Sequence[Usage], seconds: Mapping[str, float]) -> dict[str, Any]:
    """Return the usage of all processes as the `run` entry of metrics.json; it excludes runs that this one resumed.

    Rows and tokens are sums, rates those of all processes together, and memory the maximum of a process. Rates and
    shares are None if nothing was trained.

    Args:
        usages: one per process; at least one.
        seconds: of each phase.
    """
    readings = [usage.trained for usage in usages]
    max_seconds, total_seconds = max(r.seconds for r in readings), sum(r.seconds for r in readings)
    rows, encoded, computed = (sum(getattr(r, name) for r in readings) for name in ("rows", "encoded", "computed"))
    return {
        "processes": len(usages),
        "seconds": dict(seconds),
        "rows": rows,
        "tokens": encoded,
        "tokens_computed": computed,
        "rows_per_second": rows / max_seconds if rows else None,
        "tokens_per_second": encoded / max_seconds if encoded else None,
        "padding": 1 - encoded / computed if computed else None,
        "waiting_for_data": sum(r.waited for r in readings) / total_seconds if rows else None,
        "peak_memory_bytes": max(usage.memory for usage in usages),
        "peak_gpu_memory_bytes": max((u.gpu_memory for u in usages if u.gpu_memory is not None), default=None),
    }


def format_usage(run: Mapping[str, Any]) -> Iterator[str]:
    """Yield log lines about the result of `merge_usage`."""
    seconds = run["seconds"]
    phases = ", ".join(f"{phase} {format_duration(spent)}" for phase, spent in seconds.items())
    yield f"Time: {phases}; total {format_duration(sum(seconds.values()))}"
    if run["rows"]:
        rate = f"{run['rows_per_second']:,.0f} rows"
        if run["tokens"]:
            rate += f" and {run['tokens_per_second']:,.0f} real tokens"
        padding = "" if run["padding"] is None else f"; {run['padding']:.1%} of the computed tokens were padding"
        yield f"Training: {rate} per second{padding}; {run['waiting_for_data']:.1%} of the time waiting for data"
    memory = f"Peak memory of a process: {run['peak_memory_bytes'] / 2**20:,.0f} MiB"
    gpu_memory = run["peak_gpu_memory_bytes"]
    yield memory if gpu_memory is None else f"{memory}, of its GPU: {gpu_memory / 2**20:,.0f} MiB"


def format_duration(seconds: float) -> str:
    """Return a duration in at most two units: 3.2 s, 4 min 5 s, 3 h 12 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
