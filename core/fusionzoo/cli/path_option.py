"""Options and arguments that are paths of this machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from fusionzoo.cli.output import exit_on_user_error

STREAM = "-"


def path_option(name: str, help_text: str, *, takes_stream: bool = False) -> Any:
    """Return the option with this name, which refuses a URL; and "-" too, unless it takes standard input or output."""
    return typer.Option(name, help=help_text, metavar="PATH", parser=_make_parser(name, takes_stream))


def path_argument(name: str, help_text: str) -> Any:
    """Return an argument that refuses a URL and "-"; `name` is for messages."""
    return typer.Argument(help=help_text, parser=_make_parser(name, takes_stream=False))


def _make_parser(name: str, takes_stream: bool) -> Callable[[str], str | Path]:
    def parse_path(text: str) -> str | Path:
        from fusionzoo.errors import PathError
        from fusionzoo.local_paths import to_local_path

        with exit_on_user_error():
            if str(text) == STREAM and not takes_stream:
                raise PathError.stream(name)
            path = to_local_path(name, str(text))
        return text if takes_stream else path  # as text, an ending "/" stays

    return parse_path
