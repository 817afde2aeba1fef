"""How commands print: tables on a terminal, aligned plain text when piped, one JSON document for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from fusionzoo import errors

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(document: Any) -> None:
    """One JSON document, in ASCII."""
    typer.echo(json.dumps(document, indent=2))


def print_line(text: str, indent: int = 0) -> None:
    """One line, whatever the text holds."""
    typer.echo(" " * indent + one_line(text))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """A table; its last column may be long."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headings, cells, title)
        return
    if title:
        typer.echo(title)
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # which, unlike a str, has no markup: "[bom]" stays

    table = Table(title=Text(title) if title else None, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def coloured(text: str, colour: str) -> str:
    """The text in a colour, where this is a terminal that wants colours."""
    return typer.style(text, fg=colour) if sys.stdout.isatty() and not os.environ.get("NO_COLOR") else text


def one_line(text: str) -> str:
    """The text on one line, what cannot be printed as escapes."""
    line = " ".join(text.split())
    return line if line.isprintable() else line.encode("unicode_escape").decode()


@contextmanager
def reported() -> Iterator[None]:
    """End the command with status 1, and no stack trace, on an error that a user can mend."""
    try:
        yield
    except errors.ZooError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


def pairs(given: Sequence[str] | None) -> dict[str, str]:
    """What `--set key=value` holds, however often it is given."""
    return dict(_pair(one) for one in given or ())


def _pair(given: str) -> tuple[str, str]:
    key, equals, value = given.partition("=")
    if not key or not equals:
        raise typer.BadParameter(f"{given!r} is not key=value", param_hint="--set")
    return key, value
