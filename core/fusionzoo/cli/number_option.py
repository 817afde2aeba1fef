"""Options that are numbers with a fraction."""

from __future__ import annotations

import math
from typing import Any

import typer

MAX_SECONDS = 1_000_000.0  # 11 days; the timeouts of the operating system end at 24 days
MAX_MEGABYTES = 1_000_000_000.0


def number_option(help_text: str, *, min: float, max: float, envvar: str | None = None) -> Any:
    """Return an option that refuses numbers out of a range, and NaN, which a range of typer does not refuse."""
    return typer.Option(help=help_text, min=min, max=max, envvar=envvar, callback=_refuse_nan)


def _refuse_nan(value: float) -> float:
    if math.isnan(value):
        raise typer.BadParameter("nan is not a number.")
    return value
