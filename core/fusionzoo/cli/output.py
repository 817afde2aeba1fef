"""How commands print: tables on a terminal, aligned plain text in a pipe, one JSON document with `--json`."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Annotated, Any

import typer

from fusionzoo import errors

SIGTERM_STATUS = 143
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def print_json(document: Any) -> None:
    """Print one JSON document in ASCII."""
    typer.echo(json.dumps(document, indent=2))


def print_line(text: str, indent: int = 0) -> None:
    """Print the text as one line."""
    typer.echo(" " * indent + one_line(text))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table; its last column may be long."""
    cells = [[one_line(cell) for cell in row] for row in rows]
    if _is_terminal():
        _draw_table(headings, cells, title)
        return
    if title:
        typer.echo(title)
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        typer.echo(line.rstrip())


def _is_terminal() -> bool:
    return sys.stdout is not None and sys.stdout.isatty()  # None: the process was started without it


def _draw_table(headings: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text  # rich parses markup in a str, but not in a Text: "[bom]" must stay

    table = Table(title=Text(title) if title else None, title_justify="left")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)


def colorize(text: str, color: str) -> str:
    """Return the text in a color; unchanged if standard output is not a terminal or NO_COLOR is set."""
    return typer.style(text, fg=color) if _is_terminal() and not os.environ.get("NO_COLOR") else text


def one_line(text: str) -> str:
    """Return the text on one line, with escapes for characters that cannot be printed."""
    line = " ".join(text.split())
    return line if line.isprintable() else line.encode("unicode_escape").decode()


@contextmanager
def exit_on_user_error() -> Iterator[None]:
    """Print an error that the user can fix without a stack trace, and exit with status 1."""
    try:
        yield
    except errors.ZooError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """In the block, SIGTERM raises SystemExit, so that temporary files are deleted and processes are ended."""

    def stop(number: int, frame: FrameType | None) -> None:
        sys.exit(SIGTERM_STATUS)

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def parse_key_value_pairs(texts: Sequence[str] | None, option: str = "--set") -> dict[str, str]:
    """Return the values of all options `--set key=value` by key.

    Raises:
        typer.BadParameter: a text is not key=value.
    """
    return dict(_parse_pair(text, option) for text in texts or ())


def _parse_pair(text: str, option: str) -> tuple[str, str]:
    key, equals_sign, value = text.partition("=")
    if not key or not equals_sign:
        raise typer.BadParameter(f"{text!r} is not key=value", param_hint=option)
    return key, value
