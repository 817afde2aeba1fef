"""Results of long work in files, by content: built once per machine, shared by processes, checked when used."""

from __future__ import annotations

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

log = logging.getLogger(__name__)

T = TypeVar("T")
SEAL = "seal.json"
BUILDING, REMOVED = ".building-", ".removed-"
PIECE = 2**20


def cache_key(content: Mapping[str, Any]) -> str:
    """The name of an entry that this content, plain JSON values, decides."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cache:
    """A folder of entries, each a folder of files that is whole or not there; least recently used ones go first."""

    folder: Path
    limit: int  # bytes of all entries together

    def fetch(self, key: str, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
        """What `load` makes of the entry's folder, which `build` fills where no whole one is there.

        One process builds while others wait. Where `load` raises FileNotFoundError, another process has removed the
        entry: it is made anew. Memory that `load` maps stays valid when the entry is removed. An entry in a folder that
        can only be read is used, too.

        Raises:
            errors.CacheError: an entry is not there, and cannot be written: no space, no right, a failing disk.
        """
        found = self._load(key, load)
        if found is not None:
            return found[0]
        with self._locked(key):
            found = self._load(key, load)
            if found is None:
                self._build(key, build)
                found = self._load(key, load)
        if found is None:
            raise errors.CacheError.damaged_at_once(self.folder / key)
        self._evict(key)
        return found[0]

    def holds(self, key: str) -> bool:
        """Whether there is such an entry; it may still turn out to be damaged."""
        return (self.folder / key / SEAL).exists()

    def _load(self, key: str, load: Callable[[Path], T]) -> tuple[T] | None:
        """The loaded entry; None where there is no whole one."""
        entry = self.folder / key
        try:
            if not _is_whole(entry):
                return None
            found = (load(entry),)
        except FileNotFoundError:  # another process has just removed it
            return None
        with suppress(OSError):  # a folder that can only be read keeps its times, and removes nothing either
            os.utime(entry / SEAL)
        return found

    def _build(self, key: str, build: Callable[[Path], None]) -> None:
        building, entry = self.folder / f"{BUILDING}{key}", self.folder / key
        with _writing(self.folder):
            _remove(building)  # of a process that was killed
            building.mkdir()
            try:
                build(building)
                _seal(building)
                _remove(entry)  # a damaged one
                building.rename(entry)
            except BaseException:
                shutil.rmtree(building, ignore_errors=True)  # the failure itself is what the user must see
                raise

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        with _writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / f"{key}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                log.info("Waiting for another process that prepares the same data in %s", self.folder)
                lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _evict(self, newest: str) -> None:
        """Remove what killed processes left, and the least recently used entries until the rest keeps the limit."""
        for left in [*self.folder.glob(f"{BUILDING}*"), *self.folder.glob(f"{REMOVED}*")]:
            self._remove_unlocked(left.name.removeprefix(BUILDING).removeprefix(REMOVED), left)
        sizes: dict[str, int] = {}
        used: dict[str, float] = {}
        for seal in self.folder.glob(f"*/{SEAL}"):
            with suppress(FileNotFoundError):  # another process has just removed it
                sizes[seal.parent.name] = sum(file.stat().st_size for file in seal.parent.iterdir())
                used[seal.parent.name] = seal.stat().st_mtime
        total = sum(sizes.values())
        for key in sorted(used, key=lambda key: used[key]):
            if total <= self.limit:
                break
            if key != newest and self._remove_unlocked(key, self.folder / key):
                total -= sizes[key]

    def _remove_unlocked(self, key: str, path: Path) -> bool:
        """Remove a folder that no process is at work on; returns whether that was so."""
        try:
            with FileLock(self.folder / f"{key}.lock", timeout=0):
                _remove(path)
        except (Timeout, OSError) as cause:
            log.info("%s is not removed: %s", path, cause)
            return False
        return True


def _remove(path: Path) -> None:
    """Remove a folder in such a way that a kill meanwhile leaves nothing that looks like an entry."""
    if path.exists():
        name = path.name.removeprefix(BUILDING).removeprefix(REMOVED)
        doomed = path.with_name(f"{REMOVED}{name}")
        if doomed != path:
            if doomed.exists():  # of a process that was killed
                shutil.rmtree(doomed)
            path.rename(doomed)
        shutil.rmtree(doomed)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns a failure to write into a CacheError; any other error passes."""
    try:
        yield
    except OSError as cause:
        if not _concerns_writing(cause, folder):
            raise
        raise errors.CacheError(folder, cause) from cause
    except NotImplementedError as cause:  # a file system without locks
        raise errors.CacheError(folder, cause) from cause


def _concerns_writing(cause: OSError, folder: Path) -> bool:
    """Whether the disk or a right is in the way, or the folder has gone; numpy's errors have no number."""
    gone = isinstance(cause, FileNotFoundError) and str(folder) in str(cause)
    in_the_way = isinstance(cause, FileExistsError | NotADirectoryError)
    return cause.errno is None or cause.errno in errors.WRITE_REMEDIES or gone or in_the_way


# --- seals: the sizes and checksums of an entry's files, and of the seal itself. They also find what was lost with the
# power, so that nothing here has to be forced to the disk.


def _seal(folder: Path) -> None:
    files = {path.name: [path.stat().st_size, _checksum(path)] for path in sorted(folder.iterdir())}
    text = json.dumps(files)
    (folder / SEAL).write_text(f"{text}\n{zlib.crc32(text.encode())}\n", "utf-8")


def _is_whole(entry: Path) -> bool:
    """Whether the entry is there, and each of its files as it was written."""
    try:
        if not (entry / SEAL).exists():
            return False
        text, _, own = (entry / SEAL).read_text("utf-8").partition("\n")
        whole = own == f"{zlib.crc32(text.encode())}\n" and all(
            (entry / name).stat().st_size == size and _checksum(entry / name) == checksum
            for name, (size, checksum) in json.loads(text).items()
        )
    except (OSError, ValueError) as cause:
        log.warning(errors.cache_damaged(entry, str(cause)))
        return False
    if not whole:
        log.warning(errors.cache_damaged(entry, "a checksum is not the one that was written"))
    return whole


def _checksum(path: Path) -> int:
    checksum = 0
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            checksum = zlib.crc32(piece, checksum)
    return checksum
