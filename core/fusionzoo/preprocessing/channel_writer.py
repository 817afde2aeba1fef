"""Write the rows of a channel to Parquet files of bounded size."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from fusionzoo.data.reading.blocks import BLOCK_LENGTH, BLOCK_ROWS

if TYPE_CHECKING:
    from typing_extensions import Self

PART_BYTES = 512 * 2**20  # of decoded values in a part file, so that a channel can be divided over hosts


class ChannelWriter:
    """Writes blocks of rows to part files in a folder. The files are complete at the end of a `with` block.

    Holds the rows of one row group, at most about `BLOCK_LENGTH` bytes and those of the last block.
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._pending: list[pa.RecordBatch] = []
        self._parts = self._part_bytes = 0
        self._stack = ExitStack()
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._write_group()
        finally:
            self._stack.close()

    def add(self, batch: pa.RecordBatch) -> None:
        """Add a block of rows."""
        if not len(batch):
            return
        self._pending.append(batch)
        if sum(map(len, self._pending)) >= BLOCK_ROWS or sum(b.nbytes for b in self._pending) >= BLOCK_LENGTH:
            self._write_group()

    def _write_group(self) -> None:
        if not self._pending:
            return
        table = pa.Table.from_batches(self._pending, self._schema)
        self._pending = []
        if self._writer is None or self._part_bytes >= PART_BYTES:
            self._writer = self._open_part()
        self._writer.write_table(table, row_group_size=len(table))
        self._part_bytes += table.nbytes

    def _open_part(self) -> pq.ParquetWriter:
        self._stack.close()
        path = self._folder / f"part-{self._parts:05d}.parquet"
        self._parts, self._part_bytes = self._parts + 1, 0
        file = self._stack.enter_context(path.open("xb"))
        writer: pq.ParquetWriter = self._stack.enter_context(pq.ParquetWriter(file, self._schema))
        return writer
