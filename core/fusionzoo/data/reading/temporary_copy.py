"""Temporary copies of inputs that are read more than once: a stream, or the content of a compressed file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from fusionzoo import errors
from fusionzoo.atomic_files import free_space

COPY_BLOCK = 2**20  # bytes that are copied at once


@contextmanager
def temporary_copy(name: str) -> Iterator[BinaryIO]:
    """Yield a new temporary file for `append_to_copy`; it is deleted afterwards.

    It has no buffer, so that nothing is left to write, and to fail, when it is closed.

    Args:
        name: that of the input, for messages.

    Raises:
        errors.OutputError: there is no folder for temporary files, or it is full.
    """
    with _translate_errors(name):
        copy = tempfile.NamedTemporaryFile(buffering=0)  # noqa: SIM115 - closed below
    with copy:
        yield cast("BinaryIO", copy)


def append_to_copy(copy: BinaryIO, data: bytes, name: str) -> None:
    """Write all of the data at the end of a temporary copy.

    Raises:
        errors.OutputError: the folder of temporary files is full.
    """
    copy.seek(0, 2)
    rest = memoryview(data)
    while rest:
        with _translate_errors(name):
            rest = rest[copy.write(rest) :]


def copy_stream(stream: BinaryIO, copy: BinaryIO, name: str) -> None:
    """Write the rest of a stream to a temporary copy. Errors of the stream pass unchanged.

    Raises:
        errors.OutputError: the folder of temporary files is full.
    """
    while data := stream.read(COPY_BLOCK):
        append_to_copy(copy, data, name)
    copy.seek(0)


@contextmanager
def _translate_errors(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as cause:
        try:
            folder = Path(tempfile.gettempdir())
        except FileNotFoundError as missing:
            raise errors.OutputError.no_temporary_folder(missing) from missing
        raise errors.OutputError.full_temporary_folder(name, folder, cause, free_space(folder)) from cause
