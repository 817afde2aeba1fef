"""A progress bar on standard error, for a user who watches a terminal. Standard output is for data only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Display(Protocol):
    """Receives the progress of a run."""

    def add_rows(self, rows: int) -> None:
        """Count scored rows."""

    def finish_part(self, size: int) -> None:
        """Count a finished prediction file, with the bytes of its input."""


class NoDisplay:
    """Shows nothing."""

    def add_rows(self, rows: int) -> None:
        """Do nothing."""

    def finish_part(self, size: int) -> None:
        """Do nothing."""


class BarDisplay:
    """Shows the finished share of the bytes, and the rows so far."""

    def __init__(self, parts: int, total_bytes: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._parts, self._finished, self._rows = parts, 0, 0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(20),
            TextColumn("{task.fields[status]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        total = total_bytes if parts > 1 else None  # within a file, the number of rows is not known
        self._task = self._progress.add_task("predict", total=total, status="")

    @contextmanager
    def show(self) -> Iterator[None]:
        """Show the bar during the block, and remove it afterwards."""
        with self._progress:
            yield

    def add_rows(self, rows: int) -> None:
        self._rows += rows
        self._update(0)

    def finish_part(self, size: int) -> None:
        self._finished += 1
        self._update(size)

    def _update(self, advance: int) -> None:
        files = f"file {min(self._finished + 1, self._parts)} of {self._parts}, " if self._parts > 1 else ""
        self._progress.update(self._task, advance=advance, status=f"{files}{self._rows:,} rows")


@contextmanager
def show_progress(parts: int, total_bytes: int = 0) -> Iterator[Display]:
    """Yield a bar if standard error is a terminal that can draw one, otherwise a display that shows nothing.

    A process may have been started without standard error, which is None then.

    Args:
        parts: the number of prediction files.
        total_bytes: the bytes of their inputs; not used for a single file.
    """
    if sys.stderr is None or not sys.stderr.isatty() or not parts:
        yield NoDisplay()
        return
    display = BarDisplay(parts, total_bytes)
    with display.show():
        yield display
