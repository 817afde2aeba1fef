"""Encoded splits in files: written block by block in bounded memory, and memory-mapped."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ids import DuplicateIds, common_type, in_type

DESCRIPTION, ARRAYS_DESCRIPTION, IDS = "split.json", "arrays.json", "ids.arrow"
STARTS = ("chunk_starts", "row_starts")  # of a block they count from the block's beginning
ARRAYS = ("tokens", *STARTS, "categories", "numbers", "numbers_missing", "labels", "digests")


def write(folder: Path, blocks: Iterable[EncodedSplit]) -> None:
    """Write a split's blocks, of which there is at least one, into the folder; their number adds 8 bytes per row.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        arrays: dict[str, _ArrayFile] = {}
        ids = stack.enter_context(_IdsFile(folder))
        doubled = DuplicateIds()
        dropped_tokens = empty_texts = pad_id = 0
        for block in blocks:
            for name in ARRAYS:
                array = getattr(block, name)
                if array is None:
                    continue
                if name not in arrays:
                    arrays[name] = stack.enter_context(_ArrayFile(folder / f"{name}.bin", array))
                elif name in STARTS:
                    array = array[1:] + arrays[name].last
                arrays[name].add(array)
            ids.add(block.ids)
            doubled.add(block.ids)
            dropped_tokens += block.dropped_tokens
            empty_texts += block.empty_texts
            pad_id = block.pad_id
        description = {
            "arrays": {name: array.description for name, array in arrays.items()},
            "pad_id": pad_id,
            "dropped_tokens": dropped_tokens,
            "empty_texts": empty_texts,
            "duplicate_ids": doubled.count(),
        }
    (folder / DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")


def read(folder: Path) -> EncodedSplit:
    """The split that `write` wrote, memory-mapped: its arrays take no memory of their own."""
    described: dict[str, Any] = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    for name, how in described.pop("arrays").items():
        described[name] = _mapped(folder / f"{name}.bin", how)
    with pa.memory_map(str(folder / IDS)) as source:
        described["ids"] = pa.ipc.open_file(source).read_all()["id"]
    return EncodedSplit(**{"labels": None, **described})


def write_arrays(folder: Path, blocks: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write named arrays, each block of which goes on along the first axis; there is at least one block.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        arrays: dict[str, _ArrayFile] = {}
        for block in blocks:
            for name, array in block.items():
                if name not in arrays:
                    arrays[name] = stack.enter_context(_ArrayFile(folder / f"{name}.bin", array))
                arrays[name].add(array)
    described = {name: array.description for name, array in arrays.items()}
    (folder / ARRAYS_DESCRIPTION).write_text(json.dumps(described), encoding="utf-8")


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """The arrays that `write_arrays` wrote, memory-mapped."""
    described: dict[str, Any] = json.loads((folder / ARRAYS_DESCRIPTION).read_text("utf-8"))
    return {name: _mapped(folder / f"{name}.bin", how) for name, how in described.items()}


def _mapped(path: Path, how: Mapping[str, Any]) -> np.ndarray:
    shape = tuple(how["shape"])
    if 0 in shape:
        return np.zeros(shape, how["dtype"])  # an empty file cannot be mapped
    return np.asarray(np.memmap(path, how["dtype"], "r", shape=shape))


class _ArrayFile:
    """An array in a file, written piece by piece along its first axis."""

    def __init__(self, path: Path, first: np.ndarray) -> None:
        self._file = path.open("wb")
        self._dtype, self._shape = first.dtype, first.shape[1:]
        self._length = 0
        self.last: Any = None  # the value written last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, piece: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(piece, self._dtype).data)
        self._length += len(piece)
        self.last = piece[-1] if len(piece) else self.last

    @property
    def description(self) -> dict[str, Any]:
        return {"dtype": self._dtype.str, "shape": [self._length, *self._shape]}


class _IdsFile:
    """Ids in an Arrow file, in the type that all of them share; each run of one type has its own file at first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[Path] = []
        self._types: list[pa.DataType] = []
        self._writer: pa.RecordBatchWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()
        if kind is None:
            self._join()

    def add(self, ids: pa.Array) -> None:
        if not self._types or ids.type != self._types[-1]:
            if self._writer is not None:
                self._writer.close()
            self._runs.append(self._folder / f"ids-{len(self._runs)}.arrow")
            self._types.append(ids.type)
            self._writer = _ids_writer(self._runs[-1], ids.type)
        assert self._writer is not None
        self._writer.write_batch(pa.record_batch([ids], ["id"]))

    def _join(self) -> None:
        if len(self._runs) == 1:
            self._runs[0].rename(self._folder / IDS)
            return
        kind = common_type(set(self._types))
        with _ids_writer(self._folder / IDS, kind) as writer:
            for run in self._runs:
                with pa.memory_map(str(run)) as source:
                    blocks = pa.ipc.open_file(source)
                    for number in range(blocks.num_record_batches):
                        ids = in_type(blocks.get_batch(number).column(0), kind)
                        writer.write_batch(pa.record_batch([ids], ["id"]))
                run.unlink()


def _ids_writer(path: Path, kind: pa.DataType) -> pa.RecordBatchWriter:
    return pa.ipc.new_file(str(path), pa.schema([("id", kind)]))
