"""Ways to damage a model folder, and manifests of changed folders that are valid."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.errors import ModelFolderError

FILES = (
    *("hyperparameters.json", "manifest.json", "model.onnx", "model.pth", "model_artifacts.pth"),
    *("onnx_check.json", "preprocessor.json", "tokenizer.json"),
)
"""The files of a model folder."""

Damage = Callable[[Path, Path], object]
"""Damages a file; the second argument is the folder of another model."""


def load_error(load: Callable[[Any], object], folder: Path) -> str:
    """Return the message of the ModelFolderError that loading a folder raises."""
    with pytest.raises(ModelFolderError) as error:
        load(folder)
    return str(error.value)


def flip_bit(path: Path, offset: int, bit: int = 0) -> None:
    """Flip one bit of the byte at `offset`, counted from the end if it is negative."""
    content = bytearray(path.read_bytes())
    content[offset] ^= 1 << bit
    path.write_bytes(content)


def write_valid_manifest(folder: Path, change: Callable[[dict[str, Any]], object] = lambda manifest: None) -> None:
    """Let the manifest list the files as they are now, apply `change`, and correct the checksum."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text("utf-8"))
    del manifest["checksum"]
    for name, entry in manifest["files"].items():
        content = (folder / name).read_bytes()
        entry |= {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    change(manifest)
    text = json.dumps(manifest, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    checksum = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    text = json.dumps({**manifest, "checksum": checksum}, indent=1, ensure_ascii=False) + "\n"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def _cut(path: Path, other: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def _extend(path: Path, other: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def _replace_by_folder(path: Path, other: Path) -> None:
    path.unlink()
    path.mkdir()


def _replace_by_pipe(path: Path, other: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _replace_by_socket(path: Path, other: Path) -> None:
    path.unlink()
    folder = os.open(path.parent, os.O_RDONLY)  # the address of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)


def _link_to(target: str) -> Damage:
    def damage(path: Path, other: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return damage


def _link_to_own_copy(path: Path, other: Path) -> None:
    copy = path.parent.parent / f"copy of {path.name}"
    path.replace(copy)
    path.symlink_to(copy)


DAMAGES: dict[str, Damage] = {
    "absent": lambda path, other: path.unlink(),
    "empty": lambda path, other: os.truncate(path, 0),
    "cut": _cut,
    "extended": _extend,
    "far longer": lambda path, other: os.truncate(path, 2**36),
    "zeros": lambda path, other: path.write_bytes(bytes(path.stat().st_size)),
    "first bit": lambda path, other: flip_bit(path, 0),
    "middle bit": lambda path, other: flip_bit(path, path.stat().st_size // 2),
    "last bit": lambda path, other: flip_bit(path, -1),
    "other JSON": lambda path, other: path.write_text('{"a": 1}'),
    "of another model": lambda path, other: shutil.copyfile(other / path.name, path),
    "folder": _replace_by_folder,
    "pipe": _replace_by_pipe,
    "socket": _replace_by_socket,
    "link to zeros": _link_to("/dev/zero"),
    "link to nothing": _link_to("absent"),
    "link to itself": lambda path, other: _link_to(path.name)(path, other),
    "link to the folder": _link_to("."),
    "link to a copy outside": _link_to_own_copy,
}
