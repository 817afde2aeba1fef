"""Unpack a model.tar.gz, as SageMaker uploads a model folder and a job's channel `model` holds it."""

from __future__ import annotations

import logging
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from fusionzoo import errors
from fusionzoo.atomic_files import translate_write_errors

log = logging.getLogger(__name__)

ARCHIVE_FILE = "model.tar.gz"
MAX_MEMBERS = 100_000
MIN_CHECKED_BYTES = 100_000_000  # smaller archives are not checked for their expansion


def unpack_model(archive: Path, folder: Path, max_expansion: float) -> None:
    """Write the files at the top of an archive into `folder`; files in its subfolders are not part of a model.

    Raises:
        errors.InitFromError: it is not an archive, or holds a link, a path that leaves the folder, or too much.
        errors.OutputError: there is no room for the files.
    """
    limit = max(MIN_CHECKED_BYTES, int(archive.stat().st_size * max_expansion))
    unpacked = 0
    try:
        with tarfile.open(archive) as tar:
            for member in _iterate_members(tar, archive):
                name = _find_file_name(member, archive)
                if name is None:
                    continue
                unpacked += member.size
                if unpacked > limit:
                    raise errors.InitFromError.large_archive(archive, limit)
                _write_member(tar, member, folder / name)
    except (tarfile.TarError, EOFError, zlib.error, OSError) as cause:
        if isinstance(cause, OSError) and not isinstance(cause, tarfile.TarError) and cause.errno is not None:
            raise
        raise errors.InitFromError.unreadable_archive(archive, cause) from cause


def _iterate_members(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    for number, member in enumerate(tar):
        if number >= MAX_MEMBERS:
            raise errors.InitFromError.large_archive(archive, MAX_MEMBERS)
        yield member


def _find_file_name(member: tarfile.TarInfo, archive: Path) -> str | None:
    """Return the name of a file at the top of the archive; None for folders and what is in them."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise errors.InitFromError.unsafe_archive(archive, member.name, "its path leaves the folder")
    if member.isdir():
        return None
    if not member.isreg():
        raise errors.InitFromError.unsafe_archive(archive, member.name, "it is a link or a device")
    return path.name if len(path.parts) == 1 else None


def _write_member(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    content = tar.extractfile(member)
    if content is None:
        raise ValueError(f"{member.name} is not a file")
    with translate_write_errors(path), content, path.open("wb") as file:
        shutil.copyfileobj(content, file)
