"""Standard input that can be read more than once, and standard output that a writer of any format accepts."""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from fusionzoo.data.reading.file_type import GZIP_MAGIC
from fusionzoo.data.reading.limits import MeteredStream, SizeMeter
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import READ_BUFFER, PartFile
from fusionzoo.data.reading.temporary_copy import append_to_copy, copy_stream, temporary_copy
from fusionzoo.errors.prediction_errors import PredictionJobError

STREAM = "-"
"""What stands for standard input or output among the options."""
STREAM_NAME = "stdin"


class RepeatableStream:
    """The content of a stream, which is copied to a temporary file while it is read, so that it can be read again."""

    def __init__(self, source: BinaryIO) -> None:
        self._source, self._size, self._stack = source, 0, ExitStack()
        self._copy = self._stack.enter_context(temporary_copy(STREAM_NAME))

    def open(self) -> BinaryIO:
        """Return a stream from the beginning."""
        return io.BufferedReader(cast("io.RawIOBase", _Reader(self)), READ_BUFFER)

    def read_at(self, position: int, length: int) -> bytes:
        """Return at most `length` bytes from the position on; none at the end."""
        if position < self._size:
            self._copy.seek(position)
            return self._copy.read(min(length, self._size - position))
        data: bytes = self._source.read1(length)  # type: ignore[attr-defined]  # of a buffered reader
        append_to_copy(self._copy, data, STREAM_NAME)
        self._size += len(data)
        return data

    def close(self) -> None:
        """Delete the copy."""
        self._stack.close()


class _Reader(io.RawIOBase):
    def __init__(self, stream: RepeatableStream) -> None:
        self._stream, self._position = stream, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._stream.read_at(self._position, len(view))
        view[: len(data)] = data
        self._position += len(data)
        return len(data)


@dataclass(frozen=True)
class StreamedFile(PartFile):
    """A part file that is a stream; `path` is not used."""

    stream: RepeatableStream | None = None

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        if self.stream is None:
            raise ValueError("a streamed file needs a stream")
        with self.stream.open() as raw:
            if not self.gzipped:
                yield raw
                return
            with gzip.GzipFile(fileobj=raw) as unlimited:
                yield io.BufferedReader(MeteredStream(cast("BinaryIO", unlimited), self.make_meter()), READ_BUFFER)

    def make_meter(self) -> SizeMeter:
        """Return a meter without a limit on the expansion: the size of the stream is not known."""
        return SizeMeter(self.name, 1, self.options.max_file_bytes, float("inf"))


@contextmanager
def open_standard_input(source: BinaryIO, format: str, options: ReadOptions) -> Iterator[PartFile]:
    """Yield standard input as a part file, which is read while it arrives; Parquet is read after its end.

    Raises:
        PredictionJobError: there is nothing to read.
        errors.OutputError: now or while it is read: the folder of temporary files is full.
    """
    stream = RepeatableStream(source)
    try:
        start = stream.open().read(len(GZIP_MAGIC))
        if not start:
            raise PredictionJobError.empty_input(STREAM)
        gzipped = start == GZIP_MAGIC
        if format != "parquet":
            yield StreamedFile(Path(STREAM_NAME), STREAM_NAME, format, gzipped, options, stream=stream)
            return
        with temporary_copy(STREAM_NAME) as copy:
            copy_stream(stream.open(), copy, STREAM_NAME)
            yield PartFile(Path(copy.name), STREAM_NAME, format, gzipped, options)
    finally:
        stream.close()


class ClosedOutputError(Exception):
    """The reader of standard output has ended, as `head` does; not an error of the command."""


class StandardOutput(io.RawIOBase):
    """A stream that counts what is written, because the writers of some formats need the position.

    Raises:
        ClosedOutputError: the reader has ended.
        PredictionJobError: the stream cannot be written, for example because it is a file on a full disk.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target, self._position = target, 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        with self._convert_errors():
            self._target.write(data)
        self._position += len(memoryview(data).cast("B"))
        return len(memoryview(data).cast("B"))

    def tell(self) -> int:
        return self._position

    def flush(self) -> None:
        with self._convert_errors():
            self._target.flush()

    def close(self) -> None:
        """Leave standard output open: the process closes it."""

    @contextmanager
    def _convert_errors(self) -> Iterator[None]:
        """Convert the errors of the target. What it still buffers is discarded: it would fail again at the exit."""
        try:
            yield
        except OSError as cause:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self._target.fileno())
            os.close(null)
            if isinstance(cause, BrokenPipeError):
                raise ClosedOutputError from cause
            raise PredictionJobError.unwritable_stream(cause) from cause
