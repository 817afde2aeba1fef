"""Find the byte of a file that is not UTF-8, and guess which encoding the file has."""

from __future__ import annotations

import codecs
from dataclasses import dataclass
from typing import BinaryIO

CHUNK = 2**20
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
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
            encoding = "UTF-16" if beginning.startswith(UTF16_MARKS) else _guess_encoding(around)
            return InvalidByte(data[cause.start], offset + cause.start, line, encoding)
        if not chunk:
            return None
        done = len(data) - len(decoder.getstate()[0])
        offset += done
        line += data[:done].count(b"\n")


def _guess_encoding(sample: bytes) -> str | None:
    """Return "Windows-1252 (Latin-1)" if the bytes are text in it; None if they look like no text."""
    text = sample.decode("cp1252", "replace")
    unusual = sum(not (character.isprintable() or character in "\r\n\t") for character in text) + text.count("\ufffd")
    return None if unusual else "Windows-1252 (Latin-1)"
