"""Verify a model folder against its manifest.json before anything in it is used. Needs no torch."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fusionzoo import errors
from fusionzoo.artifacts.file_names import MANIFEST_FILE, WEIGHTS_FILE
from fusionzoo.artifacts.manifest import MAX_MANIFEST_BYTES, ListedFile, Manifest, parse_manifest
from fusionzoo.data.hashing import hash_stream
from fusionzoo.data.model_files import model_file_errors
from fusionzoo.data.preprocessor import PREPROCESSOR_FILE
from fusionzoo.errors.wording import describe_file_kind

MAX_THREADS = 4


@dataclass(frozen=True)
class VerifiedFile:
    """What is known of a file that has the listed size and SHA-256.

    Attributes:
        identity: changes when the file is replaced or written to.
        content: its bytes, if the caller needs them.
    """

    identity: tuple[int, ...]
    content: bytes | None


@dataclass(frozen=True)
class VerifiedFolder:
    """A model folder in which every file is the one that the job wrote. Files that the manifest lacks are ignored."""

    path: Path
    manifest: Manifest
    files: Mapping[str, VerifiedFile]

    def read(self, name: str) -> bytes:
        """Return the bytes that were verified.

        Raises:
            errors.ModelFolderError: the manifest does not list the file.
            ValueError: the bytes were not kept.
        """
        content = self._find(name).content
        if content is None:
            raise ValueError(f"pass {name} to verify_folder as a file to keep")
        return content

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        """Yield a verified file for reading; use it for a file that is too large to keep.

        Raises:
            errors.ModelFolderError: the file changed since it was verified, or the block cannot use it.
        """
        verified, path = self._find(name), self.path / name
        with _open_file(self.path, name) as file:
            if _identify(file) != verified.identity:
                raise errors.ModelFolderError.changed(path)
            yield file
            if _identify(file) != verified.identity:
                raise errors.ModelFolderError.changed(path)

    def _find(self, name: str) -> VerifiedFile:
        if name not in self.files:
            raise errors.ModelFolderError.not_listed(self.path / name)
        return self.files[name]


def verify_folder(folder: Path, keep: Collection[str] = ()) -> VerifiedFolder:
    """Verify the size and SHA-256 of every file that manifest.json lists. Each file is read once, several at a time.

    Memory is bounded by the files to keep: a file of another size than listed is not read.

    Args:
        folder: the model folder.
        keep: names of files, with their bytes kept for `VerifiedFolder.read`.

    Raises:
        errors.ModelFolderError: the folder, its manifest or a listed file is missing, damaged, changed, not a file, a
            link out of the folder, or of a later version.
    """
    manifest = parse_manifest(read_manifest(folder), folder / MANIFEST_FILE)
    listed = manifest.files
    with ThreadPoolExecutor(MAX_THREADS) as pool:  # reading and hashing let other threads run
        verified = pool.map(lambda name: _verify_file(folder, name, listed[name], name in keep), listed)
        return VerifiedFolder(folder, manifest, dict(zip(listed, verified, strict=True)))


def read_manifest(folder: Path) -> bytes:
    """Return the content of manifest.json, which is not verified.

    Raises:
        errors.ModelFolderError: there is none, or it is too large or not a file of the folder.
    """
    path = folder / MANIFEST_FILE
    with model_file_errors(folder):
        if not folder.is_dir() or not os.path.lexists(path):
            raise _explain_missing_manifest(folder)
    with _open_file(folder, MANIFEST_FILE) as file:
        content = file.read(MAX_MANIFEST_BYTES + 1)
    if len(content) > MAX_MANIFEST_BYTES:
        raise errors.ModelFolderError.damaged_manifest(path, f"it has more than {MAX_MANIFEST_BYTES / 2**20:g} MiB")
    return content


def _explain_missing_manifest(folder: Path) -> errors.ModelFolderError:
    if any(os.path.lexists(folder / name) for name in (PREPROCESSOR_FILE, WEIGHTS_FILE)):
        return errors.ModelFolderError.without_manifest(folder)
    job_model = folder / "model"  # the folder may be the root of a job; or its archive was packed with a folder
    inner = job_model if (job_model / MANIFEST_FILE).is_file() else find_model_folder(folder)
    return errors.ModelFolderError.not_a_model_folder(folder, None if inner == folder else inner)


def find_model_folder(folder: Path) -> Path:
    """Return the folder, or the only folder in it with a manifest.json if it has none, as `unpack_model` finds it."""
    inner = [path.parent for path in folder.glob(f"*/{MANIFEST_FILE}")]
    return inner[0] if len(inner) == 1 and not os.path.lexists(folder / MANIFEST_FILE) else folder


def _verify_file(folder: Path, name: str, listed: ListedFile, keep: bool) -> VerifiedFile:
    path = folder / name
    with _open_file(folder, name) as file:
        identity = _identify(file)
        if (size := os.fstat(file.fileno()).st_size) != listed.size:
            raise errors.ModelFolderError.wrong_size(path, listed.size, size)
        content = file.read(listed.size + 1) if keep else None
        digest = hash_stream(file) if content is None else hashlib.sha256(content).hexdigest()
        if digest != listed.sha256:
            raise errors.ModelFolderError.wrong_content(path)
    return VerifiedFile(identity, content)


@contextmanager
def _open_file(folder: Path, name: str) -> Iterator[BinaryIO]:
    """Yield a regular file of the folder for reading. It is never a pipe or a device, not even for a moment.

    Raises:
        errors.ModelFolderError: there is no such file, or the block cannot use it.
    """
    path = folder / name
    with model_file_errors(path):
        target = _find_target(folder, path)
        with os.fdopen(os.open(target, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            _check_regular(path, os.fstat(file.fileno()).st_mode)  # it may be another one by now
            yield file


def _find_target(folder: Path, path: Path) -> Path:
    """Return the file that a path means, without links.

    Raises:
        errors.ModelFolderError: it does not exist, is not a regular file, or is outside of the folder.
        OSError, RuntimeError: it cannot be examined.
    """
    target = path.resolve()
    if not target.is_relative_to(folder.resolve()):
        raise errors.ModelFolderError.link_out_of_folder(path, target)
    try:
        mode = target.stat().st_mode
    except FileNotFoundError as cause:
        raise errors.ModelFolderError.missing_file(path) from cause
    _check_regular(path, mode)
    return target


def _check_regular(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise errors.ModelFolderError.not_a_regular_file(path, describe_file_kind(mode))


def _identify(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
