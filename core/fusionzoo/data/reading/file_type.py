"""The format and compression of a file: from its suffix, its content type, or the bytes with which it begins."""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo import errors
from fusionzoo.data.reading.delimited_advice import DELIMITERS
from fusionzoo.data.reading.formats import DELIMITED, FORMATS, format_from_suffix, known_suffixes
from fusionzoo.data.reading.invalid_bytes import find_utf_mark
from fusionzoo.data.reading.options import ReadOptions

SAMPLE_LENGTH = 2**16  # bytes at the beginning of a file that are examined
GZIP_MAGIC = b"\x1f\x8b"
GZIP_SUFFIXES = (".gz", ".gzip")
MAGIC_BYTES = (
    (b"PAR1", "parquet"),
    (b"PK\x03\x04", "a ZIP archive or an Excel file"),
    (b"BZh", "compressed with bzip2"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\xfd7zXZ", "compressed with xz"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"ARROW1", "an Arrow file"),
    (b"ORC", "an ORC file"),
    (b"Obj\x01", "an Avro file"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x93NUMPY", "a NumPy file"),
    (b"\x80\x04", "a pickle"),
    (b"\x80\x05", "a pickle"),
    (b"SQLite format", "an SQLite database"),
    (b"version https://git-lfs", "a Git LFS pointer instead of the data"),
    (b"\xd0\xcf\x11\xe0", "an Excel file"),
)
TEXT_BEGINNINGS = (  # of files with a suffix of delimited files, without spaces and in lower case
    (b'{"', "JSON"),
    (b"[{", "JSON"),
    (b"<?xml", "an XML document"),
    (b"<html", "a web page"),
    (b"<!doctypehtml", "a web page"),
)
CONTENT_TYPES = (("parquet", "parquet"), ("tab-separated", "tsv"), ("tsv", "tsv"), ("csv", "csv"), ("json", "jsonl"))


@dataclass(frozen=True)
class FileType:
    """A key of `formats.FORMATS`, and whether the file is compressed with gzip."""

    format: str
    gzipped: bool


def detect_file_type(path: Path, name: str, columns: Sequence[str], options: ReadOptions) -> FileType | None:
    """Return the type of a file; None if it is empty and its suffix names no format, so that it has no rows.

    Raises:
        errors.DataError: the file is of no known type, or not of the type that its suffix names.
        OSError: the file cannot be opened.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    has_gzip_suffix = bool(suffixes) and suffixes[-1] in GZIP_SUFFIXES
    if has_gzip_suffix:
        suffixes.pop()
    named_format = format_from_suffix(suffixes[-1]) if suffixes else None
    with path.open("rb") as stream:
        sample = stream.read(SAMPLE_LENGTH)
    has_gzip_magic = sample.startswith(GZIP_MAGIC)
    if has_gzip_magic:
        sample = _decompress(sample)
    content = next((kind for magic, kind in MAGIC_BYTES if sample.startswith(magic)), None)
    # Some downloads decompress a file and keep its name. The suffix may also mean the compression inside of Parquet.
    gzipped = has_gzip_magic or (has_gzip_suffix and content is None and not _is_text(sample))
    if named_format in DELIMITED and options.header is True:
        beginning = b"".join(sample[:100].removeprefix(codecs.BOM_UTF8).lower().split())
        content = next((kind for text, kind in TEXT_BEGINNINGS if beginning.startswith(text)), content)
    if named_format is not None:
        if content is not None and content != named_format:
            raise errors.DataError([errors.content_contradicts_suffix(name, _describe(content), suffixes[-1])])
        return FileType(named_format, gzipped)
    if not sample:
        return None
    if encoding := find_utf_mark(sample):
        place = f"it begins with the byte order mark {sample[: 4 if encoding == 'UTF-32' else 2]!r}"
        raise errors.DataError([errors.file_not_utf8(name, place, encoding)])
    detected = content if content in FORMATS else None
    if content is None:
        detected = _format_of_content_type(options.content_type) or _format_of_text(sample, columns, options)
    if detected is None:
        description = _describe(content) if content else f"it begins with {sample[:40]!r}"
        raise errors.DataError([errors.unknown_file_type(name, known_suffixes(), description)])
    return FileType(detected, gzipped)


def _describe(content: str) -> str:
    return f"the file is {'Parquet' if content == 'parquet' else content}"


def _is_text(sample: bytes) -> bool:
    """Return whether the beginning of a file is text in UTF-8. Its last character may be incomplete."""
    try:
        return bool(sample) and "\0" not in codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False


def _decompress(sample: bytes) -> bytes:
    """Return the beginning of the content of a gzip file; nothing if it is damaged."""
    try:
        return zlib.decompressobj(wbits=31).decompress(sample, SAMPLE_LENGTH)
    except zlib.error:
        return b""


def _format_of_content_type(content_type: str | None) -> str | None:
    lower = (content_type or "").lower()
    return next((name for word, name in CONTENT_TYPES if word in lower), None)


def _format_of_text(sample: bytes, columns: Sequence[str], options: ReadOptions) -> str | None:
    """Return the format of text that can only be read in one format: JSON, or a first line with all columns.

    A first line with all columns and another delimiter than `csv_delimiter` is CSV too: its reader names the delimiter.
    """
    text = sample.decode("utf-8-sig", "replace").lstrip()
    if text.startswith(("{", "[")):
        return "jsonl"
    first_line = text.splitlines()[0] if text else ""

    def fits(delimiter: str) -> bool:
        return _has_columns([cell.strip('"') for cell in first_line.split(delimiter)], columns, options)

    fitting = [name for name, delimiter in (("csv", options.delimiter), ("tsv", "\t")) if fits(delimiter)]
    if not fitting and any(map(fits, DELIMITERS)):
        return "csv"
    return fitting[0] if len(fitting) == 1 else None


def _has_columns(cells: Sequence[str], columns: Sequence[str], options: ReadOptions) -> bool:
    if options.header is True:
        return set(columns) <= set(cells)
    return len(cells) > 1 and len(cells) == len(options.choose_names(len(cells)))
