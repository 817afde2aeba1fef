"""Limits on the size of files and rows, checked while a file is read, so that memory and time stay bounded."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from fusionzoo import errors

MIN_SUSPECT_BYTES = 100 * 2**20  # the expansion of smaller files is not limited

MAX_BLANK_LINES = 1_000_000  # in a row; more is a file that was filled with line ends


class SizeMeter:
    """Counts what a file expands to, and compares it with the limits.

    Raises:
        errors.DataError: the file is larger than `max_bytes`, or more than `max_ratio` times its stored size.
    """

    def __init__(self, name: str, stored_bytes: int, max_bytes: float, max_ratio: float) -> None:
        self._name, self._stored_bytes = name, stored_bytes
        self.min_suspect_bytes = MIN_SUSPECT_BYTES
        self._max_bytes, self._max_ratio = max_bytes, max_ratio
        self._count = 0

    def add(self, size: int) -> None:
        """Count `size` more bytes."""
        self._count += size
        if self._count > self._max_bytes:
            raise errors.DataError([errors.file_too_large(self._name, self._max_bytes)])
        if self._count > max(self.min_suspect_bytes, self._max_ratio * self._stored_bytes):
            raise errors.DataError([errors.suspicious_compression(self._name, self._stored_bytes, self._max_ratio)])


class MeteredStream(io.RawIOBase):
    """A binary stream that reports each read to a `SizeMeter`."""

    def __init__(self, source: BinaryIO, meter: SizeMeter) -> None:
        self._source, self._meter = source, meter

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer and return the number of bytes."""
        view = memoryview(buffer).cast("B")
        data = self._source.read(len(view))
        view[: len(data)] = data
        self._meter.add(len(data))
        return len(data)


class BlankLines:
    """Counts blank lines that follow each other.

    Raises:
        errors.DataError: there are more than `MAX_BLANK_LINES`.
    """

    def __init__(self, name: str) -> None:
        self._name, self._count = name, 0

    def check(self, is_blank: bool, line: int) -> None:
        """Count a line."""
        self._count = self._count + 1 if is_blank else 0
        if self._count > MAX_BLANK_LINES:
            raise errors.DataError([errors.too_many_blank_lines(self._name, line, MAX_BLANK_LINES)])
