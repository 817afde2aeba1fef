"""A cache of expensive results in files: keyed by content, built once per machine, shared by processes, verified."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import shutil
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from fusionzoo import errors
from fusionzoo.atomic_files import can_create_files
from fusionzoo.errors.wording import short
from fusionzoo.local_paths import NO_FOLDER

log = logging.getLogger(__name__)

T = TypeVar("T")
SEAL_FILE = "seal.json"
BUILDING_PREFIX, REMOVED_PREFIX = ".building-", ".removed-"
READ_SIZE = 2**20  # bytes read at once for a checksum


def cache_key(content: Mapping[str, Any]) -> str:
    """Return the name of the entry that this content, plain JSON values, determines."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class DamagedEntryError(Exception):
    """The files of an entry match their seal, but do not hold what they should."""


@contextmanager
def damaged_entry_errors() -> Iterator[None]:
    """In the block, which reads the files of an entry, turn errors about their content into DamagedEntryError."""
    try:
        yield
    except (ValueError, LookupError, TypeError, AttributeError, NotImplementedError, RecursionError, EOFError) as cause:
        raise DamagedEntryError(f"{type(cause).__name__}: {cause}") from cause


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a folder of files that is either complete or absent. Evicts least recently used ones.

    Memory that was mapped from an entry stays valid after the entry is removed.
    """

    folder: Path
    max_bytes: int  # of all entries together

    def get_or_build(self, key: str, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
        """Return `load(folder)` of the entry's folder. `build(folder)` fills it first if there is no complete entry.

        One process builds while the others wait. If `load` raises FileNotFoundError, another process has removed the
        entry; if it raises DamagedEntryError, the entry is not what `build` writes. In both cases it is built again.
        Entries of a read-only cache are used, too.

        Raises:
            errors.CacheError: there is no entry and none can be written: no space, no permission, a failing disk; or
                the entry cannot be read, although it may be intact. Such an entry stays as it is.
        """
        loaded = self._load(key, load)
        if loaded is not None:
            return loaded[0]
        with self._locked(key):
            loaded = self._load(key, load)
            if loaded is None:
                self._build(key, build)
                loaded = self._load(key, load)
        if loaded is None:
            raise errors.CacheError.damaged_after_write(self.folder / key)
        self._evict(newest=key)
        return loaded[0]

    def contains(self, key: str) -> bool:
        """Return whether the entry is known to exist. It may still prove to be damaged when it is loaded."""
        try:
            return _has_seal(self.folder / key)
        except errors.CacheError as error:  # `get_or_build` reports it
            log.debug("%s", error)
            return False

    def _load(self, key: str, load: Callable[[Path], T]) -> tuple[T] | None:
        """Return the loaded entry in a tuple; None if there is no complete one."""
        entry = self.folder / key
        try:
            if not _is_complete(entry):
                return None
            with _convert_refusals(entry):
                loaded = (load(entry),)
        except FileNotFoundError:  # another process has just removed it
            return None
        except DamagedEntryError as cause:
            _warn_damaged(entry, short(cause))
            return None
        with suppress(OSError):  # a read-only folder keeps its times, but evicts nothing either
            os.utime(entry / SEAL_FILE)
        return loaded

    def _build(self, key: str, build: Callable[[Path], None]) -> None:
        building, entry = self.folder / f"{BUILDING_PREFIX}{key}", self.folder / key
        with _convert_write_errors(self.folder):
            _remove(building)  # left by a process that was killed
            building.mkdir()
            try:
                build(building)
                _seal(building)
                _remove(entry)  # a damaged one
                building.rename(entry)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)  # the user must see the failure of `build` itself
                raise

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("Waiting for another process that prepares the same data in %s", self.folder)
                lock.acquire()
        except (OSError, NotImplementedError) as cause:  # NotImplementedError: a file system without locks
            raise _describe_failure(self.folder, cause) from cause
        try:
            yield
        finally:
            lock.release()

    def _evict(self, newest: str) -> None:
        """Remove leftovers of killed processes, then the least recently used entries beyond the size limit."""
        for leftover in [*self.folder.glob(f"{BUILDING_PREFIX}*"), *self.folder.glob(f"{REMOVED_PREFIX}*")]:
            self._remove_if_unlocked(_get_key(leftover), leftover)
        sizes: dict[str, int] = {}
        last_use: dict[str, float] = {}
        for seal in self.folder.glob(f"*/{SEAL_FILE}"):
            try:
                sizes[seal.parent.name] = sum(file.stat().st_size for file in seal.parent.iterdir())
                last_use[seal.parent.name] = seal.stat().st_mtime
            except OSError as cause:  # another process has just removed it, or it is not this user's
                log.debug("The size of %s is not known: %s", seal.parent, cause)
        total = sum(sizes.values())
        for key in sorted(last_use, key=lambda key: last_use[key]):
            if total <= self.max_bytes:
                break
            if key != newest and self._remove_if_unlocked(key, self.folder / key):
                total -= sizes[key]

    def _remove_if_unlocked(self, key: str, path: Path) -> bool:
        """Remove a folder unless a process is using it. Returns whether the folder was removed."""
        try:
            with FileLock(self.folder / f"{key}.lock", timeout=0):
                _remove(path)
        except Timeout:
            log.debug("%s is not removed, because another process uses it", path)
            return False
        except OSError as cause:
            log.info("%s was not removed: %s", path, cause)
            return False
        return True


def _get_key(path: Path) -> str:
    return path.name.removeprefix(BUILDING_PREFIX).removeprefix(REMOVED_PREFIX)


def _remove(path: Path) -> None:
    """Remove a folder; a process that is killed during the removal leaves nothing that looks like an entry."""
    if path.exists():
        renamed = path.with_name(f"{REMOVED_PREFIX}{_get_key(path)}")
        if renamed != path:
            if renamed.exists():  # left by a process that was killed
                shutil.rmtree(renamed)
            path.rename(renamed)
        shutil.rmtree(renamed)


@contextmanager
def _convert_write_errors(folder: Path) -> Iterator[None]:
    """Turn a failure to write into errors.CacheError. Other errors pass unchanged."""
    try:
        yield
    except OSError as cause:
        if not _is_write_error(cause, folder):
            raise
        raise _describe_failure(folder, cause) from cause


def _is_write_error(cause: OSError, folder: Path) -> bool:
    """Return whether the disk, a permission or a removed cache folder is the cause. NumPy's errors have no errno."""
    is_folder_gone = isinstance(cause, FileNotFoundError) and str(folder) in str(cause)
    is_path_blocked = isinstance(cause, FileExistsError | NotADirectoryError)
    return cause.errno is None or cause.errno in errors.WRITE_FIXES or is_folder_gone or is_path_blocked


# --- Seals: the sizes and checksums of an entry's files, and a checksum of the seal itself. They also detect what a
# power failure lost, so no file has to be flushed to the disk.


def _seal(folder: Path) -> None:
    text = json.dumps({name: _describe_file(folder / name) for name in _list_files(folder)})
    (folder / SEAL_FILE).write_text(f"{text}\n{zlib.crc32(text.encode())}\n", "utf-8")


def _is_complete(entry: Path) -> bool:
    """Return whether the entry exists and each of its files is as it was written.

    Raises:
        errors.CacheError: it cannot be read, and may be intact.
    """
    if not _has_seal(entry):
        return False
    try:
        with _convert_refusals(entry):
            sealed = _read_seal(entry / SEAL_FILE)
            is_complete = sealed == {name: _describe_file(entry / name) for name in _list_files(entry)}
    except (OSError, ValueError, RecursionError) as cause:
        _warn_damaged(entry, short(cause))
        return False
    if not is_complete:
        _warn_damaged(entry, "its files are not those that were written")
    return is_complete


def _has_seal(entry: Path) -> bool:
    with _convert_refusals(entry):
        return (entry / SEAL_FILE).exists()


@contextmanager
def _convert_refusals(entry: Path) -> Iterator[None]:
    """Turn an error that does not show damage of the entry, such as a missing permission, into errors.CacheError."""
    try:
        yield
    except OSError as cause:
        if cause.errno not in errors.READ_FIXES:
            raise
        raise errors.CacheError.unreadable(entry, cause) from cause


def _read_seal(seal: Path) -> dict[str, Any]:
    """Return the size and checksum of each file, as the seal states them.

    Raises:
        ValueError: the seal is damaged.
    """
    text, _, own_checksum = seal.read_text("utf-8").partition("\n")
    if own_checksum != f"{zlib.crc32(text.encode())}\n":
        raise ValueError("the checksum of its seal does not match")
    content = json.loads(text)
    if not isinstance(content, dict):
        raise ValueError("its seal is not an object")
    return content


def _list_files(entry: Path) -> list[str]:
    return sorted(path.name for path in entry.iterdir() if path.name != SEAL_FILE)


def _describe_file(path: Path) -> list[int]:
    """Return the size and the checksum of a file."""
    return [path.stat().st_size, _compute_checksum(path)]


def _warn_damaged(entry: Path, cause: str) -> None:
    log.warning("The cache entry %s is damaged (%s). It is built again.", entry, cause)


def _compute_checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while data := file.read(READ_SIZE):
            checksum = zlib.crc32(data, checksum)
    return checksum


def _describe_failure(folder: Path, cause: Exception) -> errors.CacheError:
    if isinstance(cause, OSError) and cause.errno == errno.ENOSPC and not can_create_files(folder):
        return errors.CacheError.no_inodes(folder)
    if folder.is_relative_to(NO_FOLDER):
        return errors.CacheError.no_home()
    return errors.CacheError.unwritable(folder, cause)
