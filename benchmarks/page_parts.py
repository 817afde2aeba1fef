"""Markdown and words that the pages of the benchmarks share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from quality_results import Model, Record, Results


def format_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def quote(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def name_model(model: Model | str) -> str:
    """Return how a table names a model or a baseline."""
    if isinstance(model, str):
        return model
    variant = f" ({model.variant})" if model.variant else ""
    return f"`{model.name}`{variant}"


def describe_machines(runs: Sequence[Record]) -> str:
    """Return the machines, precisions, versions and commits of the runs."""
    if not runs:
        return "No run is in the results yet."
    machines = list_machines(runs)
    numbered = [f"{number}: {machine}" for number, machine in enumerate(machines, 1)] if len(machines) > 1 else machines
    precisions = sorted({run["precision"] for run in runs if "precision" in run})
    versions = sorted({_format_versions(run["versions"]) for run in runs})
    commits = sorted({run["commit"] for run in runs})
    return (
        f"Machine: {'; '.join(numbered)}. Precision: {', '.join(precisions) or 'no model yet'}. "
        f"Versions: {'; '.join(versions)}. Commit of the code: {', '.join(commits)}."
    )


def list_machines(runs: Sequence[Record]) -> list[str]:
    """Return the machines of the runs, the one with the most runs first."""
    return [name for name, _ in Counter(sorted(describe_machine(run) for run in runs)).most_common()]


def describe_machine(run: Record) -> str:
    return f"{run['machine']}, {count_threads(run['threads'])}"


def count_threads(threads: int) -> str:
    return f"{threads} {'thread' if threads == 1 else 'threads'}"


def _format_versions(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version is not None)


def list_missing(results: Results, installed: Iterable[str]) -> list[str]:
    """Return a paragraph that names model classes without a run; none if all have one."""
    missing = sorted({*installed} - {model.name for model in results.models})
    return [f"**Installed, but not run: {quote(missing)}.**"] if missing else []
