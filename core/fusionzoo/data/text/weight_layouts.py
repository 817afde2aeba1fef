"""The names, shapes and types of the tensors in a safetensors file, read from its header without the tensors."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_HEADER_BYTES = 100_000_000  # the limit of the safetensors format


@dataclass(frozen=True)
class TensorLayout:
    """What a file of weights states about a tensor."""

    shape: tuple[int, ...]
    dtype: str  # in the words of the file's format, such as F32 or float32

    @property
    def is_floating(self) -> bool:
        return self.dtype.lower().startswith(("f", "bf"))

    @property
    def is_float8(self) -> bool:
        return self.dtype.lower().startswith(("f8", "float8"))


@dataclass(frozen=True)
class SafetensorsHeader:
    """The header of a safetensors file."""

    tensors: Mapping[str, Any]  # the entry of each tensor, by name
    file_size: int  # bytes that the file must have

    @classmethod
    def read(cls, path: Path) -> SafetensorsHeader:
        """Read the header of a file.

        Raises:
            OSError, ValueError: the file cannot be read, or the header is cut short or damaged.
        """
        size = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
            if length > min(size - 8, MAX_HEADER_BYTES):
                raise ValueError(f"it is cut short at {size:,} bytes, or not in the format safetensors")
            header = json.loads(file.read(length))
        if not isinstance(header, dict):
            raise ValueError("its header is not a table of tensors")
        header.pop("__metadata__", None)
        try:
            ends = [entry["data_offsets"][1] for entry in header.values()]
            return cls(header, int(8 + length + max(ends, default=0)))
        except (LookupError, TypeError) as cause:
            raise ValueError(f"its header is damaged ({cause})") from cause

    def list_layouts(self) -> dict[str, TensorLayout]:
        """Return the layout of each tensor, by name.

        Raises:
            ValueError: the header is damaged.
        """
        try:
            return {
                name: TensorLayout(tuple(map(int, entry["shape"])), str(entry["dtype"]))
                for name, entry in self.tensors.items()
            }
        except (LookupError, TypeError) as cause:
            raise ValueError(f"its header is damaged ({cause})") from cause
