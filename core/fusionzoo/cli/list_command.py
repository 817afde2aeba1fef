"""`fusionzoo list`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import typer

from fusionzoo import errors
from fusionzoo.cli.output import AsJson, print_json, print_line, print_table
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Provider, Registry

COLUMNS: tuple[str, ...] = ("kind", "name", "distribution", "version")
ShowTasks = Annotated[bool, typer.Option("--tasks", help="Import the plugins, and show the tasks that each supports.")]


def list_plugins(tasks: ShowTasks = False, as_json: AsJson = False) -> None:
    """List the installed models and text encoders.

    Without --tasks, it reads metadata only; to examine the plugins, run `fusionzoo doctor`.
    """
    registries = [Registry.discover(MODELS_GROUP), Registry.discover(TEXT_ENCODERS_GROUP)]
    entries = [entry for registry in registries for entry in _provider_rows(registry)]
    columns, rows = COLUMNS, [row for _, row in entries]
    if tasks:
        columns = (*COLUMNS, "tasks")
        _add_tasks(entries)
    unreadable = {folder for registry in registries for folder in registry.unreadable}
    notes = [_first_line(errors.BrokenPluginError.entry_points_unreadable(folder)) for folder in sorted(unreadable)]
    if as_json:
        print_json(rows)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        return
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for note in dict.fromkeys([*(row["note"] for row in rows if row["note"]), *notes]):
        print_line(f"note: {note}")


def _provider_rows(registry: Registry) -> Iterator[tuple[Provider, dict[str, str]]]:
    for name, providers in registry.items():
        for provider in providers:
            yield (
                provider,
                {
                    "kind": registry.kind,
                    "name": name,
                    "distribution": provider.distribution,
                    "version": provider.version,
                    "note": _find_problem(registry, provider),
                },
            )


def _add_tasks(entries: list[tuple[Provider, dict[str, str]]]) -> None:
    """Add the tasks of each provider to its row; "unknown", and a note, if it cannot be loaded."""
    from fusionzoo.registry.task_support import load_providers  # imports libraries that the metadata does not need

    results = load_providers([provider for provider, _ in entries])
    for (_, row), result in zip(entries, results, strict=True):
        row["tasks"] = ", ".join(result.tasks) or "unknown"
        if result.problem:
            row["note"] = row["note"] or f"{result.problem[0]} For details, run `fusionzoo doctor`."


def _find_problem(registry: Registry, provider: Provider) -> str:
    """Return the problem that metadata shows in one provider of a name; "" if there is none."""
    if not provider.version:
        return _first_line(errors.BrokenPluginError.unreadable(provider.claim))
    try:
        registry.provider(provider.entry_point.name)
    except errors.AmbiguousModelError as error:
        return _first_line(error)
    return ""


def _first_line(error: errors.ZooError) -> str:
    return f"{str(error).partition(chr(10))[0]} For details, run `fusionzoo doctor`."
