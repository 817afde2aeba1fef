"""What a run of a job took: time, throughput and memory, for its last lines and for metrics.json."""

from __future__ import annotations

import resource
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from fusionzoo.training.monitoring.throughput import ThroughputReading


@dataclass(frozen=True)
class Usage:
    """What one process has trained, and the most memory in bytes that it has had; of a GPU None where it has none."""

    trained: ThroughputReading
    memory: int
    gpu_memory: int | None


def measure_usage(trained: ThroughputReading) -> Usage:
    """The usage of this process up to now; Linux's largest resident set, and what torch held of the GPU."""
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024  # Linux counts in KiB
    return Usage(trained, memory, torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None)


def merge_usage(usages: Sequence[Usage], seconds: Mapping[str, float]) -> dict[str, Any]:
    """The usage of all processes of a job, as metrics.json has it under `run`: of this run, not of one it goes on from.

    Rows and tokens are sums, rates those of all processes together, memory the most that any of them has had, and
    waiting the share of their time. Rates and shares are None where nothing was trained.

    Args:
        usages: one of each process; at least one.
        seconds: of each phase.
    """
    readings = [usage.trained for usage in usages]
    longest, together = max(r.seconds for r in readings), sum(r.seconds for r in readings)
    rows, encoded, computed = (sum(getattr(r, name) for r in readings) for name in ("rows", "encoded", "computed"))
    gpu = [usage.gpu_memory for usage in usages if usage.gpu_memory is not None]
    return {
        "processes": len(usages),
        "seconds": dict(seconds),
        "rows": rows,
        "tokens": encoded,
        "tokens_computed": computed,
        "rows_per_second": rows / longest if rows else None,
        "tokens_per_second": encoded / longest if encoded else None,
        "padding": 1 - encoded / computed if computed else None,
        "waiting_for_data": sum(r.waited for r in readings) / together if rows else None,
        "peak_memory_bytes": max(usage.memory for usage in usages),
        "peak_gpu_memory_bytes": max(gpu) if gpu else None,
    }


def format_usage(run: Mapping[str, Any]) -> Iterator[str]:
    """What `joined` has found, in a few readable lines."""
    seconds = run["seconds"]
    shown = ", ".join(f"{phase} {format_duration(spent)}" for phase, spent in seconds.items())
    yield f"Time: {shown}; together {format_duration(sum(seconds.values()))}"
    if run["rows"]:
        rate = f"{run['rows_per_second']:,.0f} rows"
        if run["tokens"]:
            rate += f" and {run['tokens_per_second']:,.0f} real tokens"
        padding = "" if run["padding"] is None else f"; {run['padding']:.1%} of the tokens computed were padding"
        yield f"Training: {rate} per second{padding}; {run['waiting_for_data']:.1%} of the time waiting for data"
    memory = f"Peak memory of a process: {run['peak_memory_bytes'] / 2**20:,.0f} MiB"
    gpu = run["peak_gpu_memory_bytes"]
    yield memory if gpu is None else f"{memory}, of its GPU {gpu / 2**20:,.0f} MiB"


def format_duration(seconds: float) -> str:
    """A time as a reader wants it: 3.2 s, 4 min 5 s, 3 h 12 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
