"""Files of word vectors: word2vec text or binary (.bin), or GloVe text (no header), each plain, gzip or bzip2."""

from __future__ import annotations

import bz2
import codecs
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
MAX_UNDECODABLE = 0.01  # share of the words: word2vec cuts long words in a character, another encoding damages more
TEXT_BYTES = b"\t\r\n" + bytes(range(32, 127))  # of numbers as text; float32 numbers have others
AS_TEXT = 'save it as text with save_word2vec_format("vectors.txt") of gensim, and give that file'
# How files begin that are often given instead of word vectors, what they are, and what to do.
OTHER_FORMATS = (
    (b"PK\x03\x04", "a zip archive", "unpack it, and give the file in it"),
    (b"\xfd7zXZ", "compressed with xz", "decompress it, or compress it with gzip instead"),
    (b"(\xb5/\xfd", "compressed with zstd", "decompress it, or compress it with gzip instead"),
    (b"\x1f\x8b", "compressed with gzip", "add .gz to its name"),
    (b"\xba\x16O/", "a model of fastText", "give its .vec file with the vectors of the words instead"),
    (b"\x80", "a pickle, such as one of gensim's save()", AS_TEXT),
    (b"\x93NUMPY", "an array of NumPy without words", AS_TEXT),
)


@dataclass(frozen=True)
class Header:
    """What the first line of a file states."""

    words: int
    dimensions: int
    is_binary: bool  # the rows after it are in the binary format of word2vec


@dataclass
class _FoundVectors:
    """The vectors of the words that are looked for, as the file is read."""

    words: Collection[str]
    vectors: dict[str, np.ndarray] = field(default_factory=dict)
    duplicates: list[str] = field(default_factory=list)
    undecodable: int = 0  # words that are not UTF-8
    first_undecodable: tuple[str, bytes] = ("", b"")  # the place and the bytes of the first one

    def decode_if_wanted(self, place: str, name: bytes) -> str | None:
        """Return the word if its vector is needed: the first one of each word counts."""
        try:
            word = name.decode()
        except UnicodeDecodeError:
            if not self.undecodable:
                self.first_undecodable = (place, name)
            self.undecodable += 1
            return None
        return word if self.is_wanted(word) else None

    def report_undecodable(self, path: Path, rows: int) -> None:
        """Warn of words that are not UTF-8, so that no text has them.

        Raises:
            errors.EmbeddingsError: there are so many that the file is of another encoding.
        """
        if not self.undecodable:
            return
        place, name = self.first_undecodable
        if self.undecodable > MAX_UNDECODABLE * rows:
            raise errors.EmbeddingsError.unreadable_line(str(path), place, f"{name[:60]!r} is not UTF-8")
        words = pluralize(self.undecodable, "word is", "words are")
        log.warning("'%s': %s not UTF-8, so that no text has their vectors (%s: %r)", path, words, place, name[:60])

    def is_wanted(self, word: str) -> bool:
        """Return whether the vector of a word is needed."""
        if word in self.vectors:
            self.duplicates.append(word)
        return word in self.words and word not in self.vectors


def check_word_vector_file(path: Path) -> Header | None:
    """Return what the first line states; None if it is a vector (GloVe).

    Raises:
        errors.EmbeddingsError: the file is empty, damaged or of another format, or has fewer bytes than the header
            needs.
    """
    try:
        with _open(path) as stream:
            line, row = _remove_mark(stream.readline(MAX_LINE_BYTES)), stream.read(CHUNK_BYTES)
        size = path.stat().st_size * (MAX_GZIP_RATIO if path.suffix == ".gz" else 1)
    except (OSError, EOFError, zlib.error) as cause:
        raise errors.EmbeddingsError.unreadable(str(path), cause) from cause
    for beginning, kind, fix in OTHER_FORMATS:
        if line.startswith(beginning):
            raise errors.EmbeddingsError.other_format(str(path), kind, fix)
    fields = line.split()
    if not fields:
        raise errors.EmbeddingsError.unreadable(str(path), ValueError("its first line is empty"))
    if len(fields) != 2 and not _has_binary_name(path):
        _count_trailing_numbers(path, 1, line.rstrip().split(b" "))
        return None
    if len(fields) != 2 or not all(field.isdigit() and len(field) < 19 for field in fields):
        raise errors.EmbeddingsError.unreadable(
            str(path), ValueError("its first line is not a number of words and dimensions")
        )
    words, dimensions = map(int, fields)
    is_binary = _is_binary(path, row, dimensions)
    needed = words * (dimensions * (4 if is_binary else 2) + 2)  # the shortest text of a number is "0 "
    if not 0 < dimensions <= MAX_DIMENSIONS or not words:
        raise errors.EmbeddingsError.unreadable(
            str(path), ValueError(f"its header states {words} words of {dimensions} dimensions")
        )
    if needed > size and path.suffix != ".bz2":  # bzip2 compresses repetitions without a limit that is worth knowing
        raise errors.EmbeddingsError.too_short(str(path), words, dimensions, size)
    return Header(words, dimensions, is_binary)


def read_word_vectors(path: Path, words: Collection[str]) -> KeyedVectors:
    """Return the vectors that a file has for these words. Other vectors are counted, but not kept.

    Of a word with several vectors, the first one counts, with a warning. Words that contain spaces are skipped, and so
    are a few words that are not UTF-8, with a warning.

    Raises:
        errors.EmbeddingsError: the file is damaged, its rows differ in width, or its header is wrong; names the line.
    """
    from gensim.models import KeyedVectors

    header = check_word_vector_file(path)
    found = _FoundVectors(words)
    try:
        with _open(path) as stream:
            if header is not None and header.is_binary:
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


def _remove_mark(line: bytes) -> bytes:
    """Return a first line without the byte order mark of UTF-8."""
    return line.removeprefix(codecs.BOM_UTF8)


def _has_binary_name(path: Path) -> bool:
    """Return whether the file has the binary format of word2vec, according to its name."""
    return Path(path.stem if path.suffix in COMPRESSED else path.name).suffix == ".bin"


def _is_binary(path: Path, rows: bytes, dimensions: int) -> bool:
    """Return whether the rows after a header are binary, by their first bytes, and else by the file's name."""
    fields = rows.partition(b"\n")[0].split()
    if len(fields) > dimensions and all(map(_is_number, fields[-dimensions:])):
        return False
    numbers = rows.partition(b" ")[2][: dimensions * VECTOR_TYPE.itemsize]
    return any(byte not in TEXT_BYTES for byte in numbers) or _has_binary_name(path)


def _read_text(path: Path, stream: BufferedIOBase, header: Header | None, found: _FoundVectors) -> int:
    """Read all lines, and return the number of dimensions."""
    rows = with_spaces = 0
    dimensions, stated_by = (0, "line 1") if header is None else (header.dimensions, "the header")
    for number, line in enumerate(iter(lambda: stream.readline(MAX_LINE_BYTES), b""), 1):
        fields = (_remove_mark(line) if number == 1 else line).rstrip().split(b" ")
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
        if (word := found.decode_if_wanted(f"line {number:,}", fields[0])) is not None:
            found.vectors[word] = _parse_numbers(path, number, fields[1:])
    if header is not None and rows != header.words:
        raise errors.EmbeddingsError.wrong_count(str(path), header.words, f"it has {rows:,}")
    found.report_undecodable(path, rows)
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


def _read_binary(path: Path, stream: BufferedIOBase, header: Header, found: _FoundVectors) -> int:
    """Read all vectors after the header, and return the number of dimensions."""
    rows = 0
    for rows, (name, content) in enumerate(_iterate_binary(stream, header), 1):
        if rows > header.words:
            raise errors.EmbeddingsError.wrong_count(str(path), header.words, "it has more")
        if (word := found.decode_if_wanted(f"word {rows:,}", name)) is not None:
            found.vectors[word] = np.frombuffer(content, VECTOR_TYPE).astype(np.float32)
    if rows < header.words:
        raise errors.EmbeddingsError.wrong_count(str(path), header.words, f"it has {rows:,}")
    found.report_undecodable(path, rows)
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
