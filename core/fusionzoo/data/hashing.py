"""Hashes: of files, of the code of this package, and of integers for random choices that do not depend on blocks."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np

BLOCK_BYTES = 2**20


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hash_stream(file)


def hash_stream(file: BinaryIO) -> str:
    """Return the SHA-256 of what an open file holds from its position on, hexadecimal."""
    digest = hashlib.sha256()
    while block := file.read(BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def hash_files(paths: Iterable[Path]) -> dict[Path, str]:
    """Return the SHA-256 of each file's content, hexadecimal; a path that occurs twice is read once."""
    return {path: hash_file(path) for path in dict.fromkeys(paths)}


def hash_package_code(folder: Path = Path(__file__).parent) -> str:
    """Return a hash of every Python file below `folder`, by default of all code that encodes data.

    It is part of the keys of cached results, because a developer changes code without changing the version. Comments
    count too: encoding once more is cheaper than deciding which changes matter. Takes a few milliseconds.
    """
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + bytes.fromhex(hash_file(path)))
    return digest.hexdigest()


def splitmix64(values: np.ndarray) -> np.ndarray:
    """Return a pseudo-random bijection of uint64 values, of the same shape (Steele, Lea and Flood 2014)."""
    z = values + np.uint64(0x9E3779B97F4A7C15)  # the arithmetic wraps around
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    hashed: np.ndarray = z ^ (z >> np.uint64(31))
    return hashed
