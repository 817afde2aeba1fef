"""The failure file of a SageMaker job: its first 1,024 characters become the job's FailureReason."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

MAX_CAUSE_CHARACTERS = 1_000  # of the 1,024 that SageMaker shows
MAX_FAILURE_BYTES = 20_000


def write_failure(path: Path, cause: str, trace: str = "") -> None:
    """Write the cause and the end of the stack trace, as much of it as fits. The first process that writes wins.

    If the file cannot be written, the cause goes to standard error instead.
    """
    head = cause.encode("utf-8", "backslashreplace")[:MAX_FAILURE_BYTES]
    tail = trace.encode("utf-8", "backslashreplace")[-(MAX_FAILURE_BYTES - len(head)) :] if trace else b""
    text = "\n\n".join(part.decode("utf-8", "ignore") for part in (head, tail) if part)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as stream, _remove_on_error(path):
            stream.write(text)
            stream.flush()
    except OSError as error:
        if isinstance(error, FileExistsError) and path.is_file():
            log.info("%s already contains the cause that another process wrote", path)
        else:
            log.error("Cannot write the failure file %s: %s", path, error)
            print_to_stderr(cause)


@contextmanager
def _remove_on_error(path: Path) -> Iterator[None]:
    """In the block, an error of writing deletes the file, so that another process can write its cause."""
    try:
        yield
    except OSError:
        path.unlink(missing_ok=True)
        raise


def print_to_stderr(cause: str) -> None:
    """Print the cause for a job that has no failure file."""
    if sys.stderr is None:  # the process was started without it
        return
    try:
        sys.stderr.write(cause.encode("utf-8", "backslashreplace").decode() + "\n")
        sys.stderr.flush()
    except (OSError, ValueError) as error:  # ValueError: it is closed
        log.error("Cannot write the cause to standard error either: %s", error)


def remove_stale_failure(path: Path) -> None:
    """Remove the failure file of an earlier run. Log a warning if that is not possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("Cannot remove %s from an earlier run: %s. This run will not overwrite it.", path, error)
