"""Record which files below some folders a program opens, reads, creates, changes and deletes, while it runs.

`inotify` reports the access of every process and library, also of native code, which Python's audit hooks do not see.
It is used directly: `watchdog` drops the kernel's message that events were lost, and does not report reads.

A folder that appears is watched as soon as its event is read. What happened in it before that moment is listed from the
folder itself. A file that came and went in that moment is not seen, but its folder is.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from inotify_simple import Event, INotify, flags

from fusionzoo.errors.verification_errors import VerificationError

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_PATHS = 20_000  # of one kind; a program that writes more files is judged by the first ones
_WRITES = {
    flags.CREATE: "created",
    flags.MOVED_TO: "created",
    flags.MODIFY: "changed",
    flags.ATTRIB: "changed",
    flags.DELETE: "deleted",
    flags.MOVED_FROM: "deleted",
}
_READS = flags.OPEN | flags.ACCESS
_MASK = flags.CREATE | flags.MOVED_TO | flags.MODIFY | flags.ATTRIB | flags.DELETE | flags.MOVED_FROM
_OPTIONS = flags.ONLYDIR | flags.DONT_FOLLOW | flags.EXCL_UNLINK


@dataclass
class Activity:
    """What was seen. A path that was created and then deleted is in `written` as "created, deleted".

    Attributes:
        opened: files that were opened.
        read: files that the system call `read` took bytes from. A file that is mapped into memory is not in it.
        written: what happened to a path, in the order in which it happened.
        gaps: why something may have been missed; empty if everything was seen.
    """

    opened: set[Path] = field(default_factory=set)
    read: set[Path] = field(default_factory=set)
    written: dict[Path, list[str]] = field(default_factory=dict)
    gaps: list[str] = field(default_factory=list)

    def add_gap(self, gap: str) -> None:
        """Record once that something may have been missed."""
        if gap not in self.gaps:
            self.gaps.append(gap)


class FileWatch:
    """Watches folders and all folders below them, from construction until it is closed.

    `read_folders` are watched for reads and writes, `write_folders` for writes. Links are not followed. Call `collect`
    whenever `fileno` is readable.

    Raises:
        VerificationError: the system has no inotify, or no free instance of it.
    """

    def __init__(self, read_folders: Iterable[Path], write_folders: Iterable[Path]) -> None:
        self.activity = Activity()
        try:
            self._inotify = INotify()  # without arguments: version 1.2.1, which AWS's images have, takes none
        except (OSError, AttributeError) as error:  # AttributeError: the C library has no inotify
            raise VerificationError.no_watch(error) from error
        self._folders: dict[int, Path] = {}
        self._masks: dict[int, int] = {}
        for folder in read_folders:
            self._watch(folder, _MASK | _READS)
        for folder in write_folders:
            self._watch(folder, _MASK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inotify.close()

    def fileno(self) -> int:
        """Return the descriptor that becomes readable when something has happened."""
        descriptor: int = self._inotify.fileno()
        return descriptor

    def collect(self) -> bool:
        """Add the events that are waiting to `activity`; return whether there were any.

        A program that never stops writing always has more, so this is one batch.
        """
        events = self._inotify.read(timeout=0)
        for event in events:
            self._add(event)
        return bool(events)

    def _watch(self, top: Path, mask: int, is_new: bool = False) -> None:
        """Watch a folder and those below it. Everything in a new folder counts as created."""
        waiting = deque([top])
        while waiting:
            folder = waiting.popleft()
            if not self._add_watch(folder, mask):
                continue
            for path in _list_folder(folder):
                if is_new:
                    self._record_write(path, "created")
                if self._is_folder(path):
                    waiting.append(path)

    def _is_folder(self, path: Path) -> bool:
        """Return whether a path is a folder and no link; a path that the system refuses as too long is a gap."""
        try:
            return path.is_dir() and not path.is_symlink()
        except OSError as error:
            self.activity.add_gap(f"{path.name} and what is below it could not be watched: {error.strerror}")
            return False

    def _add_watch(self, folder: Path, mask: int) -> bool:
        """Watch one folder; return False if it has disappeared, or cannot be watched."""
        try:
            descriptor = self._inotify.add_watch(folder, mask | _OPTIONS)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.activity.add_gap(
                    "the system watches no more folders than /proc/sys/fs/inotify/max_user_watches says"
                )
            elif error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self.activity.add_gap(f"{folder} could not be watched: {error.strerror}")
            return False
        self._folders[descriptor], self._masks[descriptor] = folder, mask
        return True

    def _add(self, event: Event) -> None:
        if event.mask & flags.Q_OVERFLOW:
            self.activity.add_gap("the system dropped events, because there were too many at once")
        folder = self._folders.get(event.wd)
        if event.mask & flags.IGNORED:
            self._folders.pop(event.wd, None)
            return
        if folder is None or not event.name:  # an event of the folder itself has no name; its parent reports it
            return
        path = folder / event.name
        is_folder = bool(event.mask & flags.ISDIR)
        for flag, what in _WRITES.items():
            if event.mask & flag:
                self._record_write(path, what)
        if is_folder and event.mask & (flags.CREATE | flags.MOVED_TO):
            self._watch(path, self._masks[event.wd], is_new=True)
        if not is_folder:
            self._record_read(path, event.mask)

    def _record_read(self, path: Path, mask: int) -> None:
        for flag, paths in ((flags.OPEN, self.activity.opened), (flags.ACCESS, self.activity.read)):
            if mask & flag and path not in paths:
                if len(paths) >= MAX_PATHS:
                    self.activity.add_gap(f"only the first {MAX_PATHS:,} files that were read are recorded")
                else:
                    paths.add(path)

    def _record_write(self, path: Path, what: str) -> None:
        history = self.activity.written.get(path)
        if history is None:
            if len(self.activity.written) >= MAX_PATHS:
                self.activity.add_gap(f"only the first {MAX_PATHS:,} paths that were written are recorded")
                return
            history = self.activity.written[path] = []
        if what not in history:
            history.append(what)


def _list_folder(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # it has disappeared again, which is an event of its own
        return []
