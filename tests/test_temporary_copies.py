"""Inputs that are read more than once are copied; a full folder of temporary files is named, and not the input."""

from __future__ import annotations

import errno
import gzip
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading import temporary_copy as module
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.temporary_copy import append_to_copy, copy_stream, temporary_copy
from fusionzoo.errors import OutputError
from fusionzoo.prediction.input_files import InputFiles, open_input, open_part
from fusionzoo.prediction.standard_streams import RepeatableStream, open_standard_input

SETTINGS = DataSettings.model_validate({"text_name": "text", "label_name": "y", "num_classes": 2})
TABLE = pa.table({"text": ["late", "early"] * 50})


def write_parquet() -> bytes:
    stream = io.BytesIO()
    pq.write_table(TABLE, stream)
    return stream.getvalue()


class LimitedFile:
    """A temporary file on a disk that is full after some bytes, which writes at most 7 bytes at once."""

    def __init__(self, real: Any, limit: int) -> None:
        self._real, self._left = real, limit

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def __enter__(self) -> LimitedFile:
        return self

    def __exit__(self, *details: object) -> None:
        self._real.close()

    def write(self, data: Any) -> int:
        if not self._left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written: int = self._real.write(bytes(data[: min(7, self._left)]))
        self._left -= written
        return written


@pytest.fixture
def limit_disk(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    real = tempfile.NamedTemporaryFile

    def limit(size: int) -> None:
        monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", lambda **options: LimitedFile(real(**options), size))

    return limit


def read_rows(inputs: InputFiles) -> int:
    return sum(map(len, open_part(inputs.files, ["text"])))


def read_standard_input(content: bytes, format: str) -> int:
    with open_standard_input(io.BytesIO(content), format, ReadOptions()) as file:
        return read_rows(InputFiles("-", (file,)))


def read_compressed_file(path: Path) -> int:
    path.write_bytes(gzip.compress(write_parquet()))
    with open_input(str(path), None, SETTINGS) as inputs:
        return read_rows(inputs)


READS: dict[str, Callable[[Path], int]] = {
    "csv": lambda path: read_standard_input(b"text\n" + b"late\n" * 100, "csv"),
    "jsonl": lambda path: read_standard_input(b'{"text": "late"}\n' * 100, "jsonl"),
    "parquet": lambda path: read_standard_input(write_parquet(), "parquet"),
    "gzip": lambda path: read_standard_input(gzip.compress(b"text\n" + b"late\n" * 100), "csv"),
    "a compressed Parquet file": lambda path: read_compressed_file(path / "rows.parquet.gz"),
}
each_read = pytest.mark.parametrize("read", READS.values(), ids=READS.keys())


@each_read
def test_a_copy_that_fits_is_read_completely(
    read: Callable[[Path], int], tmp_path: Path, limit_disk: Callable[[int], None]
) -> None:
    limit_disk(10**9)
    assert read(tmp_path) == 100


@each_read
@pytest.mark.parametrize("size", [0, 2, 20])
def test_a_full_folder_of_temporary_files_is_named_with_its_free_space(
    read: Callable[[Path], int], size: int, tmp_path: Path, limit_disk: Callable[[int], None]
) -> None:
    limit_disk(size)
    with pytest.raises(OutputError) as caught:
        read(tmp_path)
    assert f"folder of temporary files {tempfile.gettempdir()}: No space left on device. Free space" in str(
        caught.value
    )
    assert "TMPDIR" in caught.value.fix


def test_closing_a_stream_after_a_full_disk_raises_nothing(limit_disk: Callable[[int], None]) -> None:
    limit_disk(3)
    stream = RepeatableStream(io.BufferedReader(io.BytesIO(b"x" * 100)))
    with pytest.raises(OutputError):
        stream.open().read()
    stream.close()


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit -n"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "TMPDIR"),
    ],
)
def test_a_copy_that_cannot_be_created_says_why(cause: OSError, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: Any) -> None:
        raise cause

    monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", fail)
    with pytest.raises(OutputError, match=words), temporary_copy("stdin"):
        raise AssertionError


def test_without_any_folder_for_temporary_files_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(module.tempfile, "NamedTemporaryFile", fail)
    monkeypatch.setattr(module.tempfile, "gettempdir", fail)
    with pytest.raises(OutputError, match="There is no folder for temporary files"), temporary_copy("stdin"):
        raise AssertionError


class FailingSource(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_an_error_of_the_source_is_not_taken_for_one_of_the_copy() -> None:
    with temporary_copy("rows") as copy, pytest.raises(OSError, match="Input/output error"):
        copy_stream(FailingSource(), copy, "rows")


def chunks() -> Iterator[bytes]:
    yield from (b"a" * 10, b"", b"b" * 3)


def test_data_is_appended_wherever_the_copy_was_read_last(limit_disk: Callable[[int], None]) -> None:
    limit_disk(100)
    with temporary_copy("stdin") as copy:
        for data in chunks():
            append_to_copy(copy, data, "stdin")
            copy.seek(0)
        assert copy.read() == b"a" * 10 + b"b" * 3
