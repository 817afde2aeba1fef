"""Find the byte of a file that is not UTF-8, and guess which encoding the file has."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 2**20
MARKS = {  # the mark of UTF-32 begins with that of UTF-16
    "UTF-32": (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE),
    "UTF-16": (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE),
}
CONTEXT = 200  # bytes around the invalid byte that are examined


@dataclass(frozen=True)
class InvalidByte:
    """A byte that is not UTF-8: its value, its offset (from 0) and line (from 1), and the likely encoding."""

    value: int
    offset: int
    line: int
    encoding: str | None


def find_invalid_byte(stream: BinaryIO) -> InvalidByte | None:
    """Return the first byte of a stream that is not UTF-8; None if all of it is."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset, line, beginning = 0, 1, b""
    while True:
        chunk = stream.read(CHUNK)
        beginning = beginning or chunk[:4]
        data = decoder.getstate()[0] + chunk
        try:
            decoder.reset()
            decoder.decode(data, final=not chunk)
        except UnicodeDecodeError as cause:
            line += data[: cause.start].count(b"\n")
            around = data[max(0, cause.start - CONTEXT) : cause.start + CONTEXT]
            encoding = find_utf_mark(beginning) or _guess_encoding(around)
            return InvalidByte(data[cause.start], offset + cause.start, line, encoding)
        if not chunk:
            return None
        decoded_bytes = len(data) - len(decoder.getstate()[0])
        offset += decoded_bytes
        line += data[:decoded_bytes].count(b"\n")


def find_utf_mark(beginning: bytes) -> str | None:
    """Return UTF-16 or UTF-32 if a file begins with the byte order mark of it, otherwise None."""
    return next((name for name, marks in MARKS.items() if beginning.startswith(marks)), None)


def _guess_encoding(sample: bytes) -> str | None:
    """Return "Windows-1252 (Latin-1)" if the bytes are text in it; None if they look like no text."""
    text = sample.decode("cp1252", "replace")
    unusual = sum(not (character.isprintable() or character in "\r\n\t") for character in text) + text.count("\ufffd")
    return None if unusual else "Windows-1252 (Latin-1)"
