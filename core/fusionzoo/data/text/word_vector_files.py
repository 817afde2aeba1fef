"""Files of word vectors: word2vec text or binary (.bin), or GloVe text (no header), each plain, gzip or bzip2."""

from __future__ import annotations

import bz2
import gzip
import logging
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import BufferedIOBase
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fusionzoo import errors
from fusionzoo.errors.wording import list_names, pluralize

if TYPE_CHECKING:
    from gensim.models import KeyedVectors

log = logging.getLogger(__name__)

MAX_LINE_BYTES = 2**24
MAX_DIMENSIONS = 10_000
MAX_GZIP_RATIO = 1032
CHUNK_BYTES = 2**20  # read at once from a binary file
VECTOR_TYPE = np.dtype("<f4")  # of a binary file
COMPRESSED = (".gz", ".bz2")


@dataclass(frozen=True)
class Header:
    """What the first line of a file states."""

    words: int
    dimensions: int


@dataclass
class _FoundVectors:
    """The vectors of the words that are looked for, as the file is read."""

    words: Collection[str]
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)

    def is_wanted(self, word: str) -> bool:
        """Return whether the vector of a word is needed: the first one of each word counts."""
        if word in self.vectors:
            self.duplicates.append(word)
        return word in self.words and word not in self.vectors


def check_word_vector_file(path: Path) -> Header | None:
    """Return what the first line states; None if it is a vector (GloVe).

    Raises:
        errors.EmbeddingsError: the file is empty or damaged, or has fewer bytes than the header needs.
    """
    try:
        with _open(path) as stream:
            line = stream.readline(MAX_LINE_BYTES)
        size = path.stat().st_size * (MAX_GZIP_RATIO if path.suffix == ".gz" else 1)
    except (OSError, EOFError, zlib.error) as cause:
        raise errors.EmbeddingsError.unreadable(str(path), cause) from cause
    fields = line.split()
    if not fields:
        raise errors.EmbeddingsError.unreadable(str(path), ValueError("its first line is empty"))
    if len(fields) != 2 and not _is_binary(path):
        return None
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
        raise errors.EmbeddingsError.unreadable(
            str(path), ValueError("its first line is not a number of words and dimensions")
        )
    words, dimensions = map(int, fields)
    needed = words * (dimensions * (4 if _is_binary(path) else 2) + 2)  # the shortest text of a number is "0 "
    if not 0 < dimensions <= MAX_DIMENSIONS or not words:
        raise errors.EmbeddingsError.unreadable(
            str(path), ValueError(f"its header states {words} words of {dimensions} dimensions")
        )
    if needed > size and path.suffix != ".bz2":  # bzip2 compresses repetitions without a limit that is worth knowing
        raise errors.EmbeddingsError.too_short(str(path), words, dimensions, size)
    return Header(words, dimensions)


def read_word_vectors(path: Path, words: Collection[str]) -> KeyedVectors:
    """Return the vectors that a file has for these words. Other vectors are counted, but not kept.

    Of a word with several vectors, the first one counts, with a warning. Words that contain spaces are skipped.

    Raises:
        errors.EmbeddingsError: the file is damaged, its rows differ in width, or its header is wrong; names the line.
    """
    from gensim.models import KeyedVectors

    header = check_word_vector_file(path)
    found = _FoundVectors(words)
    try:
        with _open(path) as stream:
            if header is not None and _is_binary(path):
                stream.readline(MAX_LINE_BYTES)
                dimensions = _read_binary(path, stream, header, found)
            else:
                dimensions = _read_text(path, stream, header, found)
    except (OSError, EOFError, zlib.error) as cause:
        raise errors.EmbeddingsError.unreadable(str(path), cause) from cause
    if found.duplicates:
        names = list_names(list(dict.fromkeys(found.duplicates)))
        log.warning("'%s' has more than one vector for these words: %s. The first one is used.", path, names)
    vectors = KeyedVectors(dimensions)
    if found.vectors:
        vectors.add_vectors(list(found.vectors), np.stack(list(found.vectors.values())))
    return vectors


def _open(path: Path) -> BufferedIOBase:
    if path.suffix == ".gz":
        return gzip.open(path)
    return bz2.open(path) if path.suffix == ".bz2" else path.open("rb")


def _is_binary(path: Path) -> bool:
    """Return whether the file has the binary format of word2vec, according to its name."""
    return Path(path.stem if path.suffix in COMPRESSED else path.name).suffix == ".bin"


def _read_text(path: Path, stream: BufferedIOBase, header: Header | None, found: _FoundVectors) -> int:
    """Read all lines, and return the number of dimensions."""
    rows = with_spaces = 0
    dimensions, stated_by = (0, "line 1") if header is None else (header.dimensions, "the header")
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), 1):
        fields = line.rstrip().split(b" ")
        if fields == [b""] or (header is not None and number == 1):
            continue
        rows += 1
        dimensions = dimensions or _count_trailing_numbers(path, number, fields)
        extra = len(fields) - 1 - dimensions
        if extra > 0 and not any(map(_is_number, fields[1 : 1 + extra])):
            with_spaces += 1  # GloVe 840B has words such as ". . ."; a word of a text has no spaces
            continue
        if extra != 0:
            raise errors.EmbeddingsError.wrong_width(str(path), number, len(fields) - 1, dimensions, stated_by)
        word = _decode_word(path, f"line {number:,}", fields[0])
        if found.is_wanted(word):
            found.vectors[word] = _parse_numbers(path, number, fields[1:])
    if header is not None and rows != header.words:
        raise errors.EmbeddingsError.wrong_count(str(path), header.words, f"it has {rows:,}")
    if with_spaces:
        words = pluralize(with_spaces, "word contains spaces", "words contain spaces")
        log.info("'%s': %s, so that no text has their vectors", path, words)
    return dimensions


def _count_trailing_numbers(path: Path, number: int, fields: list[bytes]) -> int:
    """Return how many fields at the end of a line are numbers, except the first field, which is a word."""
    is_number = [_is_number(text) for text in fields[1:]]
    count = is_number[::-1].index(False) if False in is_number else len(is_number)
    if not 0 < count <= MAX_DIMENSIONS:
        raise errors.EmbeddingsError.unreadable_line(str(path), f"line {number:,}", "it is not a word with numbers")
    return count


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _parse_numbers(path: Path, number: int, fields: list[bytes]) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # infinity is reported with its word
            return np.array([float(text) for text in fields]).astype(np.float32)
    except ValueError as cause:
        raise errors.EmbeddingsError.unreadable_line(str(path), f"line {number:,}", str(cause)) from cause


def _decode_word(path: Path, place: str, word: bytes) -> str:
    try:
        return word.decode()
    except UnicodeDecodeError as cause:
        raise errors.EmbeddingsError.unreadable_line(str(path), place, f"{word[:60]!r} is not UTF-8") from cause


def _read_binary(path: Path, stream: BufferedIOBase, header: Header, found: _FoundVectors) -> int:
    """Read all vectors after the header, and return the number of dimensions."""
    rows = 0
    for rows, (name, content) in enumerate(_iterate_binary(stream, header), 1):
        if rows > header.words:
            raise errors.EmbeddingsError.wrong_count(str(path), header.words, "it has more")
        word = _decode_word(path, f"word {rows:,}", name)
        if found.is_wanted(word):
            found.vectors[word] = np.frombuffer(content, VECTOR_TYPE).astype(np.float32)
    if rows < header.words:
        raise errors.EmbeddingsError.wrong_count(str(path), header.words, f"it has {rows:,}")
    return header.dimensions


def _iterate_binary(stream: BufferedIOBase, header: Header) -> Iterator[tuple[bytes, bytes]]:
    """Yield each word with the bytes of its vector; one more than the header states if there are more bytes."""
    size = header.dimensions * VECTOR_TYPE.itemsize
    data, start = b"", 0
    for _ in range(header.words):
        space = data.find(b" ", start)
        while space < 0 or len(data) < space + 1 + size:
            more = stream.read(CHUNK_BYTES)
            if not more:
                return
            data, start = data[start:] + more, 0
            space = data.find(b" ")
        yield data[start:space].lstrip(b"\n"), data[space + 1 : space + 1 + size]
        start = space + 1 + size
    if rest := (data[start:] + stream.read(CHUNK_BYTES)).strip(b"\n"):
        yield rest, b""
