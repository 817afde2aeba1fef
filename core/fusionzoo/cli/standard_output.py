"""Standard output of every command: one that cannot be written is an error, and one that nobody reads, a quiet end."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import typer

from fusionzoo.errors.stream_errors import StandardOutputError

READER_ENDED_STATUS = 141  # what a shell reports for a program that SIGPIPE ends


class UnwritableOutputError(Exception):
    """A write to standard output has failed. It is no OSError, which a command would take for one of its own files."""

    def __init__(self, cause: OSError) -> None:
        super().__init__(str(cause))
        self.cause = cause


@contextmanager
def exit_if_unwritable() -> Iterator[None]:
    """In the block, which is a whole command, exit if standard output cannot be written.

    If the process was started without standard output, what the command prints is discarded.
    """
    if sys.stdout is None:
        yield
        return
    descriptor, sys.stdout = sys.stdout.fileno(), _with_checked_writes(sys.stdout)
    try:
        try:
            yield
        finally:
            sys.stdout.flush()
    except UnwritableOutputError as error:
        _discard(descriptor)
        if isinstance(error.cause, BrokenPipeError):
            sys.exit(READER_ENDED_STATUS)
        typer.echo(f"error: {StandardOutputError(error.cause)}", err=True)
        sys.exit(1)


class _CheckedFile(io.FileIO):
    def write(self, data: Any) -> int | None:  # type: ignore[override]  # the stubs lack None, for "would block"
        try:
            return super().write(data)
        except OSError as cause:
            raise UnwritableOutputError(cause) from cause


def _with_checked_writes(stream: TextIO) -> TextIO:
    """Return a stream to the same file, with the same encoding and buffers."""
    file = _CheckedFile(stream.fileno(), "w", closefd=False)
    is_unbuffered = getattr(stream, "write_through", False)  # as with PYTHONUNBUFFERED
    return io.TextIOWrapper(
        file if is_unbuffered else io.BufferedWriter(file),
        stream.encoding,
        stream.errors,
        line_buffering=bool(stream.line_buffering),
        write_through=is_unbuffered,
    )


def _discard(descriptor: int) -> None:
    """Discard what is still buffered: Python would try to write it again when the process ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, descriptor)
    os.close(null)
