"""`fusionzoo list`."""

from __future__ import annotations

from collections.abc import Iterator

import typer

from fusionzoo import errors
from fusionzoo.cli.output import AsJson, print_json, print_line, print_table
from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Provider, Registry

COLUMNS = ("kind", "name", "distribution", "version")


def list_plugins(as_json: AsJson = False) -> None:
    """List the installed models and text encoders.

    Reads metadata only; to import the plugins and examine them, run `fusionzoo doctor`.
    """
    registries = [Registry.discover(MODELS_GROUP), Registry.discover(TEXT_ENCODERS_GROUP)]
    rows = [row for registry in registries for row in _provider_rows(registry)]
    unreadable = {folder for registry in registries for folder in registry.unreadable}
    notes = [_first_line(errors.BrokenPluginError.entry_points_unreadable(folder)) for folder in sorted(unreadable)]
    if as_json:
        print_json(rows)
        for note in notes:
            typer.echo(f"note: {note}", err=True)
        return
    print_table(COLUMNS, [[row[column] for column in COLUMNS] for row in rows])
    for note in dict.fromkeys([*(row["note"] for row in rows if row["note"]), *notes]):
        print_line(f"note: {note}")


def _provider_rows(registry: Registry) -> Iterator[dict[str, str]]:
    for name, providers in registry.items():
        for provider in providers:
            yield {
                "kind": registry.kind,
                "name": name,
                "distribution": provider.distribution,
                "version": provider.version,
                "note": _find_problem(registry, provider),
            }


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
