"""Write a model.tar.gz that SageMaker deploys: a verified model folder, and the code that serves it. Needs no torch."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from fusionzoo import errors
from fusionzoo.artifacts.file_names import MANIFEST_FILE, ONNX_FILE
from fusionzoo.artifacts.manifest import parse_manifest
from fusionzoo.artifacts.verified_folder import VerifiedFolder, read_manifest, verify_folder
from fusionzoo.atomic_files import translate_write_errors, write_atomically

SUFFIX = ".tar.gz"  # SageMaker refuses a model of another name
COMPRESSION_LEVEL = 6
ENTRY_TIME = (
    315_532_800  # 1980-01-01: of every entry, so that equal folders give equal bytes; tar warns of earlier ones
)


@dataclass(frozen=True)
class WrittenArchive:
    """The names in an archive, its size in bytes, its SHA-256 (hexadecimal), and the checksum of its model."""

    names: tuple[str, ...]
    size: int
    sha256: str
    model_checksum: str


def write_archive(folder: Path, archive: Path, code: Mapping[str, bytes]) -> WrittenArchive:
    """Write the files of a model folder, at the top, and `code` into an archive, completely or not at all.

    Equal files and code give equal bytes with the same version of zlib. Files that the manifest does not list are not
    written. Memory does not grow with the size of the files.

    Args:
        folder: the model folder.
        archive: the file to write, which must not exist.
        code: the content of further files by name, such as `code/inference.py`.

    Raises:
        errors.ModelArchiveError: the archive exists, has another suffix, or is in the model folder.
        errors.ModelFolderError: the model is damaged, changes, or has no model.onnx, so that it cannot be served.
        errors.OutputError: the archive cannot be written.
    """
    _check_path(folder, archive)
    verified = verify_folder(folder)
    if ONNX_FILE not in verified.files:
        raise errors.ModelFolderError.without_onnx(folder / ONNX_FILE)
    generated = {**code, MANIFEST_FILE: _read_same_manifest(verified)}
    names = tuple(sorted({*verified.files, *generated}))
    written = _HashedOutput(archive)

    def write(file: BinaryIO) -> None:
        written.file = file
        with (
            gzip.GzipFile("", "wb", COMPRESSION_LEVEL, written, mtime=0) as stream,
            tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar,
        ):
            for name in names:
                if name in generated:
                    _add(tar, name, len(generated[name]), io.BytesIO(generated[name]))
                    continue
                with verified.open(name) as content:
                    _add(tar, name, verified.manifest.files[name].size, content)

    write_atomically(archive, write)
    return WrittenArchive(names, written.size, written.digest.hexdigest(), verified.manifest.checksum)


class _HashedOutput(io.RawIOBase):
    """Passes bytes on to a file, and knows their number and SHA-256. What fails is an OutputError of the archive."""

    def __init__(self, archive: Path) -> None:
        self.archive, self.size, self.digest = archive, 0, hashlib.sha256()
        self.file: BinaryIO | None = None

    def write(self, content: bytes, /) -> int:  # type: ignore[override]
        if self.file is None:
            raise ValueError("the file is not open")
        with translate_write_errors(self.archive):
            self.file.write(content)
        self.size += len(content)
        self.digest.update(content)
        return len(content)


def _check_path(folder: Path, archive: Path) -> None:
    if not archive.name.endswith(SUFFIX):
        raise errors.ModelArchiveError.other_suffix(archive, SUFFIX)
    if os.path.lexists(archive):
        raise errors.ModelArchiveError.exists(archive)
    if archive.resolve().is_relative_to(folder.resolve()):
        raise errors.ModelArchiveError.inside_model(archive, folder)


def _read_same_manifest(verified: VerifiedFolder) -> bytes:
    """Return the bytes of the manifest that the files were verified against.

    Raises:
        errors.ModelFolderError: it changed since then.
    """
    path = verified.path / MANIFEST_FILE
    content = read_manifest(verified.path)
    if parse_manifest(content, path).checksum != verified.manifest.checksum:
        raise errors.ModelFolderError.changed(path)
    return content


def _add(tar: tarfile.TarFile, name: str, size: int, content: BinaryIO) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, ENTRY_TIME, 0o644
    tar.addfile(info, content)
