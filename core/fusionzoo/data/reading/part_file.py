"""One file of a channel: its path, format and compression, and how it is opened."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.invalid_bytes import find_invalid_byte
from fusionzoo.data.reading.limits import MeteredStream, SizeMeter
from fusionzoo.data.reading.options import ReadOptions

READ_BUFFER = 2**16  # bytes of a gzip file that are decompressed at once


def ignore_row(name: str, row: int, column: str, reason: str) -> None:
    """Do nothing: another read of the file reports the row."""


@dataclass(frozen=True)
class PartFile:
    """One file of a channel.

    `name` is the path relative to the folder of all channels, for messages. `format` is a key of `formats.FORMATS`.
    `partition` has the columns that the names of its folders give, such as `country=de`, with their values. A file that
    is in memory has its bytes in `content`, and its path is not used.
    """

    path: Path
    name: str
    format: str
    gzipped: bool
    options: ReadOptions = field(default_factory=ReadOptions)
    partition: tuple[tuple[str, str | None], ...] = ()
    content: bytes | None = field(default=None, repr=False)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading; gzip is decompressed on the fly.

        Raises:
            errors.DataError: now or while the stream is read: the file is larger than the limits allow.
        """
        with self.path.open("rb") if self.content is None else io.BytesIO(self.content) as stored:
            if not self.gzipped:
                self.make_meter().add(self._stored_bytes)
                yield stored
                return
            with gzip.open(stored) as unlimited:
                yield io.BufferedReader(MeteredStream(cast("BinaryIO", unlimited), self.make_meter()), READ_BUFFER)

    @property
    def _stored_bytes(self) -> int:
        return self.path.stat().st_size if self.content is None else len(self.content)

    def without_rejected_rows(self) -> PartFile:
        """Return the file for another read, in which rejected rows are left out without a further call."""
        if self.options.reject_row is None:
            return self
        return replace(self, options=replace(self.options, reject_row=ignore_row))

    def make_meter(self) -> SizeMeter:
        """Return a meter that counts what the file expands to."""
        return SizeMeter(self.name, self._stored_bytes, self.options.max_file_bytes, self.options.max_expansion)

    @contextmanager
    def convert_read_errors(self) -> Iterator[None]:
        """Turn the exceptions of a file that cannot be read into an `errors.DataError` that names this file."""
        try:
            yield
        except UnicodeDecodeError as cause:
            raise errors.DataError([self._describe_invalid_byte(cause)]) from cause
        except (pa.ArrowException, OSError, EOFError, zlib.error) as cause:
            if isinstance(cause, OSError) and cause.errno in errors.READ_FIXES:  # nothing is wrong with the content
                raise errors.DataError([errors.unreadable_folder(self.name, cause)]) from cause
            raise errors.DataError([errors.unreadable_file(self.name, self.format, cause)]) from cause

    def _describe_invalid_byte(self, cause: UnicodeDecodeError) -> errors.Problem:
        with self.open() as stream:
            byte = find_invalid_byte(stream)
        if byte is None:  # the text of a single value
            return errors.text_not_utf8(self.name, cause)
        content = "the decompressed content" if self.gzipped else "the file"
        place = f"byte 0x{byte.value:02X} at offset {byte.offset:,} of {content}, in line {byte.line:,}"
        return errors.file_not_utf8(self.name, place, byte.encoding)
