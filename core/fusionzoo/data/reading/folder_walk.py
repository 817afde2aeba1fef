"""Find every file below a folder. What cannot be read is a problem, so that no part of a channel is left out."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo import errors
from fusionzoo.errors.wording import describe_file_kind

HIDDEN_PREFIXES = (".", "_")
FOLDER_MARKER = "_$folder$"  # suffix of the empty files that Hadoop writes to S3 for folders


@dataclass
class FolderContent:
    """The files below a folder, the names that were skipped, both relative to it, and what cannot be read."""

    files: list[Path] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    problems: list[errors.Problem] = field(default_factory=list)


def list_files(folder: Path, display_name: str) -> FolderContent:
    """Return what is below a folder. Links to files and folders are followed.

    Names that begin with "." or "_" are skipped, and so are empty files that only mark a folder on S3.
    """
    content = FolderContent()
    for path in _walk(folder, display_name, (), content):
        content.files.append(path.relative_to(folder))
    content.skipped = [Path(name).relative_to(folder).as_posix() for name in content.skipped]
    return content


def _walk(folder: Path, name: str, parents: tuple[tuple[int, int], ...], content: FolderContent) -> Iterator[Path]:
    """Yield the files below a folder. `parents` are the device and inode of the folders above it."""
    try:
        status = folder.stat()
        entries = sorted(path.name for path in folder.iterdir())
    except OSError as cause:
        content.problems.append(errors.unreadable_folder(name, cause))
        return
    identity = (status.st_dev, status.st_ino)
    if identity in parents:
        content.problems.append(errors.link_loop(name))
        return
    for entry in entries:
        path, entry_name = folder / entry, f"{name}/{entry}"
        if entry.startswith(HIDDEN_PREFIXES):
            content.skipped.append(str(path))
            continue
        try:
            status = path.stat()
        except OSError as cause:
            content.problems.append(_find_stat_problem(path, entry_name, cause))
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(path, entry_name, (*parents, identity), content)
        elif not stat.S_ISREG(status.st_mode):
            content.problems.append(errors.not_a_regular_file(entry_name, describe_file_kind(status.st_mode)))
        elif entry.endswith(FOLDER_MARKER) and not status.st_size:
            content.skipped.append(str(path))
        else:
            yield path


def find_file_problem(path: Path, name: str) -> errors.Problem | None:
    """Return why a path is not that of a readable regular file; None if it is. Links are followed."""
    try:
        status = path.stat()
    except OSError as cause:
        return _find_stat_problem(path, name, cause)
    return None if stat.S_ISREG(status.st_mode) else errors.not_a_regular_file(name, describe_file_kind(status.st_mode))


def _find_stat_problem(path: Path, name: str, cause: OSError) -> errors.Problem:
    if path.is_symlink():
        return errors.dangling_link(name, str(path.readlink()), cause)
    return errors.unreadable_folder(name, cause)
