"""Files of encoded splits: written block by block in bounded memory, and memory-mapped."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fusionzoo.data.cache import damaged_entry_errors
from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.ids import DuplicateIds, cast_ids, find_common_type

if TYPE_CHECKING:
    from typing_extensions import Self

SPLIT_FILE, ARRAYS_FILE, IDS_FILE = "split.json", "arrays.json", "ids.arrow"
STARTS = ("chunk_starts", "row_starts")  # counted from the beginning of each block
PLAIN_KINDS = "biuf"  # of NumPy: booleans, integers and floating-point numbers
ARRAYS = ("tokens", *STARTS, "categories", "numbers", "numbers_missing", "labels", "digests")


def write_split(folder: Path, blocks: Iterable[EncodedSplit]) -> None:
    """Write a split, given as one or more blocks, into the folder. Memory beyond one block: 8 bytes per row.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    with ExitStack() as stack:
        arrays: dict[str, _ArrayFile] = {}
        ids = stack.enter_context(_IdsFile(folder))
        duplicate_ids = DuplicateIds()
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
            duplicate_ids.add(block.ids)
            dropped_tokens += block.dropped_tokens
            empty_texts += block.empty_texts
            pad_id = block.pad_id
        description = {
            "arrays": {name: array.description for name, array in arrays.items()},
            "pad_id": pad_id,
            "dropped_tokens": dropped_tokens,
            "empty_texts": empty_texts,
            "duplicate_ids": duplicate_ids.count(),
        }
    (folder / SPLIT_FILE).write_text(json.dumps(description), encoding="utf-8")


def read_split(folder: Path) -> EncodedSplit:
    """Return the split written by `write_split`, memory-mapped: its arrays need no memory of their own.

    Raises:
        DamagedEntryError: the files do not hold a split.
    """
    with damaged_entry_errors():
        fields: dict[str, Any] = json.loads((folder / SPLIT_FILE).read_text("utf-8"))
        arrays = fields.pop("arrays")
        if not arrays.keys() <= set(ARRAYS) or not all(type(count) is int for count in fields.values()):
            raise ValueError(f"{SPLIT_FILE} has unknown entries")
        for name, description in arrays.items():
            fields[name] = _map_array(folder / f"{name}.bin", description)
        fields["ids"] = _map_ids(folder / IDS_FILE)
        split = EncodedSplit(**{"labels": None, **fields})
        _check_lengths(split)
    return split


def _map_ids(path: Path) -> pa.ChunkedArray:
    try:
        with pa.memory_map(str(path)) as source:
            ids = pa.ipc.open_file(source).read_all()["id"]
        ids.validate(full=True)
    except pa.ArrowException as cause:
        raise ValueError(f"{path.name}: {cause}") from cause
    return ids


def _check_lengths(split: EncodedSplit) -> None:
    """Check that the arrays of a split belong together.

    Raises:
        ValueError: they do not.
    """
    rows, chunks = len(split.row_starts) - 1, len(split.chunk_starts) - 1
    by_row = (split.categories, split.numbers, split.numbers_missing, split.labels, split.ids, split.digests)
    if (
        any(values is not None and len(values) != rows for values in by_row)
        or (split.row_starts[0], split.row_starts[-1]) != (0, chunks)
        or (split.chunk_starts[0], split.chunk_starts[-1]) != (0, len(split.tokens))
    ):
        raise ValueError("the lengths of the arrays disagree")


def write_arrays(folder: Path, blocks: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write named arrays, given as one or more blocks that are concatenated along the first axis.

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
    descriptions = {name: array.description for name, array in arrays.items()}
    (folder / ARRAYS_FILE).write_text(json.dumps(descriptions), encoding="utf-8")


def read_arrays(folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays written by `write_arrays`, memory-mapped.

    Raises:
        DamagedEntryError: the files do not hold arrays.
    """
    with damaged_entry_errors():
        descriptions: dict[str, Any] = json.loads((folder / ARRAYS_FILE).read_text("utf-8"))
        return {name: _map_array(folder / f"{name}.bin", description) for name, description in descriptions.items()}


def _map_array(path: Path, description: Mapping[str, Any]) -> np.ndarray:
    """Return a memory-mapped array.

    Raises:
        ValueError: it is not an array of plain numbers, or the file has another size. Bytes of a file must never be
            used as the pointers of an array of objects.
    """
    dtype, shape = np.dtype(str(description["dtype"])), tuple(description["shape"])
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"{path.name} has the type {description['dtype']}, not a plain number")
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"{path.name} has the shape {shape}")
    if path.stat().st_size != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, which is not {shape} of {dtype}")
    if 0 in shape:
        return np.zeros(shape, dtype)  # an empty file cannot be mapped
    return np.asarray(np.memmap(path, dtype, "r", shape=shape))


class _ArrayFile:
    """An array in a file, written block by block along its first axis."""

    def __init__(self, path: Path, first_block: np.ndarray) -> None:
        self._file = path.open("wb")
        self._dtype, self._shape = first_block.dtype, first_block.shape[1:]
        self._length = 0
        self.last: Any = None  # the value written last

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, block: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(block, self._dtype).data)
        self._length += len(block)
        self.last = block[-1] if len(block) else self.last

    @property
    def description(self) -> dict[str, Any]:
        return {"dtype": self._dtype.str, "shape": [self._length, *self._shape]}


class _IdsFile:
    """Ids in an Arrow file, in their common type.

    The common type is known only at the end, so each run of blocks of one type first has a file of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs: list[Path] = []
        self._types: list[pa.DataType] = []
        self._writer: pa.RecordBatchWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._writer.close()
        if error_type is None:
            self._join_runs()

    def add(self, ids: pa.Array) -> None:
        if not self._types or ids.type != self._types[-1]:
            if self._writer is not None:
                self._writer.close()
            self._runs.append(self._folder / f"ids-{len(self._runs)}.arrow")
            self._types.append(ids.type)
            self._writer = _open_ids_writer(self._runs[-1], ids.type)
        assert self._writer is not None
        self._writer.write_batch(pa.record_batch([ids], ["id"]))

    def _join_runs(self) -> None:
        if len(self._runs) == 1:
            self._runs[0].rename(self._folder / IDS_FILE)
            return
        id_type = find_common_type(set(self._types))
        with _open_ids_writer(self._folder / IDS_FILE, id_type) as writer:
            for run in self._runs:
                with pa.memory_map(str(run)) as source:
                    blocks = pa.ipc.open_file(source)
                    for number in range(blocks.num_record_batches):
                        ids = cast_ids(blocks.get_batch(number).column(0), id_type)
                        writer.write_batch(pa.record_batch([ids], ["id"]))
                run.unlink()


def _open_ids_writer(path: Path, id_type: pa.DataType) -> pa.RecordBatchWriter:
    return pa.ipc.new_file(str(path), pa.schema([("id", id_type)]))
