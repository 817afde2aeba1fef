"""Unpack a model.tar.gz, as SageMaker uploads a model folder, without trusting it. Needs no torch.

The whole archive is read and judged before a file is written: what is refused leaves nothing behind.
"""

from __future__ import annotations

import gzip
import io
import os
import shutil
import tarfile
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from fusionzoo import errors
from fusionzoo.artifacts.file_names import MANIFEST_FILE
from fusionzoo.atomic_files import free_space, temporary_folder, translate_write_errors
from fusionzoo.errors.wording import quote_name

ARCHIVE_FILE = "model.tar.gz"
MAX_MEMBERS = 100_000
MIN_CHECKED_BYTES = 100_000_000  # smaller archives are not checked for their expansion
MAX_READ = 2**20  # bytes at once: tarfile reads a header of any declared size into memory
MAX_NAME_BYTES = 255
GZIP_MAGIC = b"\x1f\x8b"


@contextmanager
def unpacked_model(archive: Path, parent: Path, max_expansion: float) -> Iterator[Path]:
    """Yield a temporary folder in `parent`, which must exist, with the files of the model in an archive.

    An error about a file of the model names the archive instead of the temporary folder.

    Raises:
        errors.ModelArchiveError: see `unpack_model`.
        errors.ModelFolderError: the block cannot use the model.
        errors.OutputError: the files cannot be written.
    """
    with temporary_folder(parent) as folder:
        unpack_model(archive, folder, max_expansion)
        try:
            yield folder
        except errors.ModelFolderError as error:
            message, fix = (text.replace(str(folder), str(archive)) for text in (error.message, error.fix))
            raise errors.ModelFolderError(message, fix, error.code) from error


def unpack_model(archive: Path, folder: Path, max_expansion: float) -> None:
    """Write the files of the model in an archive into an empty folder.

    The model is at the top of the archive or, as the only one, in a folder of it. Other files, such as `code/`, and
    the folders of the model are not unpacked.

    Args:
        archive: a tar file, with or without gzip compression.
        folder: an existing folder without files.
        max_expansion: the bytes of content that each byte of the archive may have.

    Raises:
        errors.ModelArchiveError: it is missing, damaged or holds no model; or an entry is a link, a device or a sparse
            file, leaves the folder, appears twice, or is too large.
        errors.OutputError: a file cannot be written.
    """
    if not archive.is_file():
        others = sorted(path.name for path in archive.parent.glob("*.tar*") if path != archive)
        raise errors.ModelArchiveError.missing(archive, others)
    limit = max(MIN_CHECKED_BYTES, int(archive.stat().st_size * max_expansion))
    with _explain_damage(archive), archive.open("rb") as file:
        stream = _BoundedReader(_decompress(file))
        with tarfile.open(fileobj=cast("BinaryIO", stream), mode="r:") as tar:
            members = list(_check_members(tar, archive, limit))
            _check_end(tar, stream, archive, limit)
            chosen = choose_members(members, archive)
            _check_space(archive, folder, sum(member.size for member in chosen))
            for member in chosen:
                _write_member(tar, member, folder / PurePosixPath(member.name).name)


class _BoundedReader(io.RawIOBase):
    """Reads a file in parts of at most `MAX_READ` bytes, so that no header can ask for all memory."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= MAX_READ:
            raise tarfile.HeaderError("the header of an entry is too large")
        return self.file.read(size)

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return self.file.seek(offset, whence)

    def tell(self) -> int:
        return self.file.tell()


def _decompress(file: BinaryIO) -> BinaryIO:
    is_compressed = file.read(2) == GZIP_MAGIC
    file.seek(0)
    return cast("BinaryIO", gzip.GzipFile(fileobj=file, mode="rb")) if is_compressed else file


@contextmanager
def _explain_damage(archive: Path) -> Iterator[None]:
    """In the block, turn what the readers of tar and gzip raise into a ModelArchiveError."""
    try:
        yield
    except (tarfile.TarError, EOFError, zlib.error, ValueError, OverflowError, RecursionError) as cause:
        raise errors.ModelArchiveError.unreadable(archive, cause) from cause
    except OSError as cause:
        if cause.errno is not None and not isinstance(cause, gzip.BadGzipFile):
            raise
        raise errors.ModelArchiveError.unreadable(archive, cause) from cause


def _check_members(tar: tarfile.TarFile, archive: Path, limit: int) -> Iterator[tarfile.TarInfo]:
    """Yield each entry, checked before the content of the next one is decompressed."""
    total = 0
    spellings: dict[str, str] = {}
    for number, member in enumerate(tar):
        if number >= MAX_MEMBERS:
            raise errors.ModelArchiveError.too_many_members(archive, MAX_MEMBERS)
        if reason := find_member_problem(member):
            raise errors.ModelArchiveError.unsafe_member(archive, member.name, reason)
        total += member.size
        if total > limit:
            raise errors.ModelArchiveError.too_large(archive, member.name, limit)
        path = PurePosixPath(member.name)
        if not member.isdir():
            key = unicodedata.normalize("NFC", str(path)).casefold()
            if key in spellings:
                other = spellings[key]
                reason = "it appears twice" if other == str(path) else f"it differs from {other} only in the case"
                raise errors.ModelArchiveError.unsafe_member(archive, member.name, reason)
            spellings[key] = str(path)
        yield member


def find_member_problem(member: tarfile.TarInfo) -> str:
    """Return why an entry is not unpacked, whatever else the archive has; "" if it may be."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        return "its path leaves the folder"
    if member.issym() or member.islnk():
        return f"it is a link to {quote_name(member.linkname)}"
    if not member.isreg() and not member.isdir():
        return "it is a device or a pipe"
    if member.issparse():
        return "it is a sparse file, which declares more bytes than it has"
    if member.size < 0 or (member.isdir() and member.size > 0):
        return f"it declares {member.size:,} bytes"
    if "\0" in member.name or any(len(os.fsencode(part)) > MAX_NAME_BYTES for part in path.parts):
        return "its name cannot be the name of a file"
    return ""


def _check_end(tar: tarfile.TarFile, stream: _BoundedReader, archive: Path, limit: int) -> None:
    """Read the rest of the archive, which must be zeros: tarfile takes a damaged header for the end.

    Raises:
        errors.ModelArchiveError: there is something else, or no end.
        OSError, EOFError, zlib.error: the compressed data is cut off, damaged, or followed by something else.
    """
    stream.seek(tar.offset)
    rest = 0
    while block := stream.read(MAX_READ):
        rest += len(block)
        if block.strip(b"\0"):
            raise tarfile.ReadError(f"what follows byte {tar.offset:,} of the content is not an entry")
        if rest > limit:
            raise errors.ModelArchiveError.too_large(archive, "the end of the archive", limit)
    if not rest:
        raise tarfile.ReadError("its end is missing")


def choose_members(members: Sequence[tarfile.TarInfo], archive: Path) -> list[tarfile.TarInfo]:
    """Return the files of the model: those in the folder of its manifest.json.

    Raises:
        errors.ModelArchiveError: there is no manifest.json, or several are in folders and none is at the top.
    """
    files = [(PurePosixPath(member.name), member) for member in members if not member.isdir()]
    folders = [path.parent for path, _ in files if path.name == MANIFEST_FILE]
    if not folders:
        raise errors.ModelArchiveError.no_model(archive)
    top = PurePosixPath(".")
    if top not in folders and len(folders) > 1:
        raise errors.ModelArchiveError.several_models(archive, [str(folder) for folder in folders])
    chosen = top if top in folders else folders[0]
    return [member for path, member in files if path.parent == chosen]


def _check_space(archive: Path, folder: Path, needed: int) -> None:
    free = free_space(folder)
    if free is not None and needed > free:
        raise errors.ModelArchiveError.no_space(archive, folder, needed, free)


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise ValueError(f"{member.name} is not a file")
    with translate_write_errors(path), content, path.open("xb") as file:
        shutil.copyfileobj(content, file)
