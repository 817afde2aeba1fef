"""Write files atomically: to a temporary name in the same folder, flushed to disk, then renamed in one step."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from fusionzoo.errors import WRITE_FIXES, OutputError

STAGING_PREFIX = ".staging-"
TEMPORARY_PREFIX = ".tmp-"
LEFTOVER = re.compile(f"({re.escape(STAGING_PREFIX)}|{re.escape(TEMPORARY_PREFIX)})[0-9a-f]{{16}}")
HARD_LINK_ERRORS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
HELD_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGINT, signal.SIGALRM)
TORCH_WRITE_ERROR = re.compile(
    r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+|write\(\): fd \d+ failed with"
    r"|open file failed with strerror|File .+ cannot be opened|Parent directory .+ does not exist"
)


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    If anything fails, the temporary file is removed and `path` is unchanged. Missing folders are created.

    Raises:
        OutputError: the disk is full, a permission is missing, or a limit is exceeded.
    """
    _create_folder(path.parent)
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    with translate_write_errors(path):
        try:
            with temporary.open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):  # the failure itself is what the user must see
                temporary.unlink(missing_ok=True)
            raise
        _flush_to_disk(path.parent)


def write_text_atomically(path: Path, text: str) -> None:
    """Write a UTF-8 file as `write_atomically` does."""

    def write(file: BinaryIO) -> None:
        file.write(text.encode())

    write_atomically(path, write)


@contextmanager
def staged_folder(folder: Path, last_file: str = "") -> Iterator[Path]:
    """Yield a temporary folder; if the block succeeds, move its files, including subfolders, into `folder`.

    A file replaces the file of the same name; other files of `folder` stay. The file called `last_file` is moved after
    all others, so that it shows that they are complete. If the block fails, `folder` is unchanged. If the process is
    killed during the move, each file is either the old or the new one, never a part of it.

    Raises:
        OutputError: the disk is full, a permission is missing, a limit is exceeded, or a file has the name of a folder.
    """
    _create_folder(folder)
    with translate_write_errors(folder):
        staging = folder / f"{STAGING_PREFIX}{secrets.token_hex(8)}"
        staging.mkdir()
        try:
            with translate_write_errors(folder):  # before free space and inodes change
                yield staging
                _move_files(staging, folder, last_file)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def flush_folder(folder: Path) -> None:
    """Flush all files and subfolders of a folder to disk.

    Raises:
        OSError: one of them cannot be flushed.
    """
    for path in sorted(folder.rglob("*")):
        if not path.is_symlink():
            _flush_to_disk(path)


@contextmanager
def hold_signals() -> Iterator[None]:
    """In the block, which replaces files, signals with a Python handler wait; their handlers run afterwards.

    Only the main thread of a process can handle signals; in other threads nothing is different in the block.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        arrived.append(number)

    handlers = {number: signal.getsignal(number) for number in HELD_SIGNALS}
    held = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in held.items():
            signal.signal(number, handler)
        for arrived_number in arrived:
            signal.raise_signal(arrived_number)


@contextmanager
def temporary_folder(folder: Path) -> Iterator[Path]:
    """Yield a new temporary folder inside `folder`, which must exist; remove it afterwards."""
    with translate_write_errors(folder):
        temporary = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        temporary.mkdir()
        try:
            with translate_write_errors(folder):  # before free space and inodes change
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def delete_leftovers(folder: Path) -> list[str]:
    """Delete the temporary files and folders that killed processes left directly in a folder; return their names.

    Call this only if no other process writes to the folder.

    Raises:
        OutputError: a permission is missing, or the disk is read-only or failing.
    """
    with translate_write_errors(folder):
        paths = sorted(folder.iterdir()) if folder.is_dir() else []
        leftovers = [path for path in paths if LEFTOVER.fullmatch(path.name)]
        for path in leftovers:
            delete(path)
    return [path.name for path in leftovers]


def delete(path: Path) -> None:
    """Delete a file, a link, or a folder with its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def check_writable(folder: Path) -> None:
    """Check that a folder can be written: create it if necessary, then write and remove a file.

    Raises:
        OutputError: this fails; the message gives the reason.
    """
    _create_folder(folder)
    probe = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    with translate_write_errors(folder):
        try:
            with probe.open("xb") as file:
                file.write(b"fusionzoo")
                file.flush()
                os.fsync(file.fileno())
        finally:
            probe.unlink(missing_ok=True)


@contextmanager
def translate_write_errors(path: Path) -> Iterator[None]:
    """In the block, turn a failure to write `path`, a file or a folder, into an OutputError. Other errors pass through.

    `torch.save` raises RuntimeError instead of OSError if the disk is full; it is recognized by its message.

    Raises:
        OutputError: the disk is full, read-only or failing, a permission is missing, or the file is too large.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in WRITE_FIXES or not _is_about(error, path):
            raise
        if error.errno == errno.ENOSPC and not can_create_files(path) and free_space(path) != 0:
            raise OutputError.no_inodes(_visible_path(path)) from error
        raise OutputError.failed(_visible_path(path), error, free_space(path)) from error
    except RuntimeError as error:
        if not TORCH_WRITE_ERROR.search(str(error)):
            raise
        os_error = _find_os_error(error)
        if os_error is not None:
            raise OutputError.failed(_visible_path(path), os_error, free_space(path)) from error
        raise OutputError.interrupted(_visible_path(path), str(error), free_space(path)) from error


def free_space(path: Path) -> int | None:
    """Return the free bytes on the disk of `path`, which may not exist; None if the system does not report them."""
    try:
        usage = shutil.disk_usage(_find_existing(path))
    except OSError:
        return None
    return usage.free if usage.total else None


def can_create_files(path: Path) -> bool:
    """Return whether the disk of `path` has free inodes; also True if the file system does not count them."""
    status = os.statvfs(_find_existing(path))
    return status.f_files == 0 or status.f_favail > 0


def _find_existing(path: Path) -> Path:
    """Return the path or the nearest parent that exists."""
    existing = path.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    return existing


def _create_folder(folder: Path) -> None:
    with translate_write_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTDIR, errno.ELOOP):
                raise
            raise OutputError.blocked(_visible_path(folder), error) from error


def _move_files(staging: Path, folder: Path, last_file: str) -> None:
    """Flush all of `staging` to disk, then move each file into `folder`. If one fails, undo the others."""
    paths = sorted(staging.rglob("*"))
    subfolders = [path for path in paths if path.is_dir() and not path.is_symlink()]
    files = [path for path in paths if path not in set(subfolders)]
    files.sort(key=lambda path: path == staging / last_file)
    flush_folder(staging)
    backups = staging / f"{TEMPORARY_PREFIX}backups"
    backups.mkdir()
    with ExitStack() as undo:
        try:
            for path in subfolders:
                target = folder / path.relative_to(staging)
                if not target.is_dir():
                    target.mkdir()
                    undo.callback(target.rmdir)
            for number, path in enumerate(files):
                target = folder / path.relative_to(staging)
                _back_up(target, backups / str(number), undo)
                path.replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise OutputError.blocked(folder, error) from error
        undo.pop_all()
    for path in {folder, *(folder / path.relative_to(staging) for path in subfolders)}:
        _flush_to_disk(path)


def _back_up(target: Path, backup: Path, undo: ExitStack) -> None:
    """Let `undo` restore what is at `target` now. A hard link keeps the file while another one replaces it.

    On a file system without hard links, a replaced file cannot be restored.
    """
    if not os.path.lexists(target):
        undo.callback(target.unlink, missing_ok=True)
        return
    if target.is_dir() and not target.is_symlink():
        return  # the move will fail
    try:
        os.link(target, backup, follow_symlinks=False)
    except OSError as error:
        if error.errno not in HARD_LINK_ERRORS:
            raise
        return
    undo.callback(os.replace, backup, target)


def _flush_to_disk(path: Path) -> None:
    """Flush a file's content, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems do not support it for folders
            raise
    finally:
        os.close(descriptor)


def _is_about(error: OSError, path: Path) -> bool:
    """Return whether the error names `path`, its content, a parent, its temporary file, or no file at all.

    The error of a copy or of a move names two files.
    """
    names = [name for name in (error.filename, error.filename2) if isinstance(name, str | bytes | os.PathLike)]
    return not names or any(_is_related(Path(os.fsdecode(name)).absolute(), path.absolute()) for name in names)


def _is_related(named: Path, expected: Path) -> bool:
    is_temporary = named.parent == expected.parent and named.name.startswith(TEMPORARY_PREFIX)
    return named == expected or expected in named.parents or named in expected.parents or is_temporary


def _find_os_error(error: BaseException) -> OSError | None:
    """Return the write failure that caused `error`, or during whose handling it was raised; None without one."""
    cause = error.__cause__ or error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in WRITE_FIXES:
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _visible_path(path: Path) -> Path:
    """Return the path without the staging folder: the one that the user knows."""
    return Path(*(part for part in path.parts if not part.startswith(STAGING_PREFIX)))
