"""One file of a channel: its path, format and compression, and how it is opened."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.reading.options import ReadOptions


@dataclass(frozen=True)
class PartFile:
    """One file of a channel.

    `name` is the path relative to the folder of all channels, for messages. `format` is a key of `formats.FORMATS`.
    """

    path: Path
    name: str
    format: str
    gzipped: bool
    options: ReadOptions = field(default_factory=ReadOptions)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the file for reading; gzip is decompressed on the fly."""
        with gzip.open(self.path) if self.gzipped else self.path.open("rb") as stream:
            yield cast("BinaryIO", stream)

    @contextmanager
    def convert_read_errors(self) -> Iterator[None]:
        """Turn the exceptions of a file that cannot be read into an `errors.DataError` that names this file."""
        try:
            yield
        except UnicodeDecodeError as cause:
            raise errors.DataError([errors.file_not_utf8(self.name, cause)]) from cause
        except (pa.ArrowException, OSError, EOFError, zlib.error) as cause:
            raise errors.DataError([errors.unreadable_file(self.name, self.format, cause)]) from cause
