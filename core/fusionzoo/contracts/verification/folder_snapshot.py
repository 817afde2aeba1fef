"""What a folder contains at one moment, and how two moments differ. Nothing is followed, and only files are opened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.errors.wording import describe_file_kind

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Entry:
    """What a path is: its kind in words, its size in bytes, when it changed, and its content.

    `content` is the SHA-256 of a hashed file, the target of a link, and "" otherwise. The other times of a file are
    not compared: reading a file sets its access time.
    """

    kind: str
    size: int
    modified_ns: int
    inode: int
    content: str = ""


Snapshot = Mapping[Path, Entry]
"""Entries by absolute path, without the folder itself."""


def take_snapshot(folder: Path, hash_files: bool = False) -> Snapshot:
    """Return the entries below a folder; empty if there is no such folder. What disappears meanwhile is left out."""
    entries = ((path, describe_path(path, hash_files)) for path in walk(folder))
    return {path: entry for path, entry in entries if entry is not None}


def walk(folder: Path) -> Iterator[Path]:
    """Yield what is below a folder, without following links. Folders that cannot be listed count as empty."""
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)


def find_changes(before: Snapshot, after: Snapshot) -> dict[Path, str]:
    """Return "created", "changed" or "deleted" for each path that differs, in order.

    A folder that both have is the same: its time changes with the files in it, which are listed themselves.
    """
    changes = {}
    for path in sorted(before.keys() | after.keys()):
        old, new = before.get(path), after.get(path)
        if old is None or new is None:
            changes[path] = "deleted" if new is None else "created"
        elif old != new and not (old.kind == new.kind == "a folder"):
            changes[path] = "changed"
    return changes


def describe_path(path: Path, hash_file: bool) -> Entry | None:
    """Return the entry of a path; None if it does not exist."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:  # it is in a folder that may be listed only, or it is too long
        return Entry("a path that cannot be examined", 0, 0, 0, f"unreadable: {error.strerror}")
    kind, content = describe_file_kind(status.st_mode), ""
    try:
        if kind == "a link":
            content = str(path.readlink())
        elif kind == "a file" and hash_file:
            content = _hash_file(path)
    except FileNotFoundError:
        return None
    except PermissionError as error:
        content = f"unreadable: {error.strerror}"
    return Entry(kind, status.st_size, status.st_mtime_ns, status.st_ino, content)


def examine(path: Path, test: Callable[[Path], bool]) -> bool:
    """Return what a test such as `Path.is_file` says; False if the system refuses to examine the path."""
    try:
        return test(path)
    except OSError:  # no permission, or the path is too long
        return False


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
