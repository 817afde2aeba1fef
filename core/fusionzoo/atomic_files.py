"""Files that are whole or not there: written beside their place, made durable, then put there in one step."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from fusionzoo.errors import WRITE_REMEDIES, OutputError

STAGING = ".staging-"
TEMPORARY = ".tmp-"
NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
TORCH_COULD_NOT_WRITE = re.compile(
    r"PytorchStreamWriter failed|unexpected pos \d+ vs \d+|write\(\): fd \d+ failed with"
    r"|open file failed with strerror|File .+ cannot be opened|Parent directory .+ does not exist"
)


def write_atomically(path: Path, write: Callable[[BinaryIO], None]) -> None:
    """Have `write` fill a temporary file in the same folder, then put it in the place of `path`.

    On any failure the temporary file is removed and `path` is what it was. The folder is created where it is not
    there.

    Raises:
        OutputError: the disk, a right or a limit is in the way.
    """
    _make(path.parent)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
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
        _sync(path.parent)


@contextmanager
def staged_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files, subfolders included, are put into `folder` if the block succeeds.

    Each file replaces the one of its name; other files of `folder` stay. On failure `folder` is left as it was. What
    a killed run left behind is removed at the start, so only one process at a time may write to a folder. A kill while
    the files are put in place leaves each of them old or new, never half.

    Raises:
        OutputError: the disk, a right, a limit, or a file where a folder should be is in the way.
    """
    _make(folder)
    with translate_write_errors(folder):
        for stale in folder.glob(f"{STAGING}*"):
            shutil.rmtree(stale)
        staging = folder / f"{STAGING}{secrets.token_hex(8)}"
        staging.mkdir()
        try:
            yield staging
            _move(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Create the folder where it is not there, then write and remove a file in it.

    Raises:
        OutputError: that cannot be done; says why.
    """
    _make(folder)
    probe = folder / f"{TEMPORARY}{secrets.token_hex(8)}"
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
    """Turn a failure to write `path`, a file or a folder, into an OutputError; let any other error pass as it is.

    `torch.save` raises RuntimeError, not OSError, when the disk is full: those are known by their text.

    Raises:
        OutputError: no space, no right, read-only, too large a file, a failing disk.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in WRITE_REMEDIES or not _concerns(error, path):
            raise
        raise OutputError.failed(_final(path), error, free_space(path)) from error
    except RuntimeError as error:
        if not TORCH_COULD_NOT_WRITE.search(str(error)):
            raise
        beneath = _os_error_beneath(error)
        if beneath is not None:
            raise OutputError.failed(_final(path), beneath, free_space(path)) from error
        raise OutputError.cut_short(_final(path), str(error), free_space(path)) from error


def free_space(path: Path) -> int | None:
    """Bytes that are free where `path` is or would be; None where the system cannot say."""
    place = path.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _make(folder: Path) -> None:
    with translate_write_errors(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            raise OutputError.in_the_way(_final(folder), error) from error


def _move(staging: Path, folder: Path) -> None:
    """Make all of `staging` durable, then put each file into `folder`; undo what was done if one of them fails."""
    found = sorted(staging.rglob("*"))
    subfolders = [path for path in found if path.is_dir() and not path.is_symlink()]
    files = [path for path in found if path not in set(subfolders)]
    for path in found:
        if not path.is_symlink():
            _sync(path)
    replaced = staging / f"{TEMPORARY}replaced"
    replaced.mkdir()
    with ExitStack() as undo:
        try:
            for path in subfolders:
                target = folder / path.relative_to(staging)
                if not target.is_dir():
                    target.mkdir()
                    undo.callback(target.rmdir)
            for number, path in enumerate(files):
                target = folder / path.relative_to(staging)
                _keep(target, replaced / str(number), undo)
                path.replace(target)
        except (FileExistsError, IsADirectoryError, NotADirectoryError) as error:
            raise OutputError.in_the_way(folder, error) from error
        undo.pop_all()
    for path in {folder, *(folder / path.relative_to(staging) for path in subfolders)}:
        _sync(path)


def _keep(target: Path, kept: Path, undo: ExitStack) -> None:
    """Have `undo` bring back what is at `target` now: a second name (hard link) keeps it while a file replaces it.

    On a file system without hard links a file that was replaced is not brought back.
    """
    if not os.path.lexists(target):
        undo.callback(target.unlink, missing_ok=True)
        return
    if target.is_dir() and not target.is_symlink():
        return  # replacing it will fail
    try:
        os.link(target, kept, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_HARD_LINKS:
            raise
        return
    undo.callback(os.replace, kept, target)


def _sync(path: Path) -> None:
    """Wait until a file's content, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems have no such thing for folders
            raise
    finally:
        os.close(descriptor)


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error is about `path`, what is in it or above it, or its temporary file; or names no file at all."""
    if not isinstance(error.filename, str | bytes | os.PathLike):
        return True
    named, ours = Path(os.fsdecode(error.filename)).absolute(), path.absolute()
    temporary = named.parent == ours.parent and named.name.startswith(TEMPORARY)
    return named == ours or ours in named.parents or named in ours.parents or temporary


def _os_error_beneath(error: BaseException) -> OSError | None:
    """The write failure in whose handling `error` was raised, if there is one."""
    beneath = error.__cause__ or error.__context__
    while beneath is not None:
        if isinstance(beneath, OSError) and beneath.errno in WRITE_REMEDIES:
            return beneath
        beneath = beneath.__cause__ or beneath.__context__
    return None


def _final(path: Path) -> Path:
    """The path without the staging folder in it: the one that the user knows."""
    return Path(*(part for part in path.parts if not part.startswith(STAGING)))
