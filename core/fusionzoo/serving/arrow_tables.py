"""Arrow tables and record batches as input and output of a predictor."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from fusionzoo.data.reading import blocks
from fusionzoo.data.reading.extension_types import FieldMetadata
from fusionzoo.data.reading.rows import Rows, to_plain_layout
from fusionzoo.serving.row_source import ModelColumns, Predictions, RowSource

SOURCE = "table"  # in messages, where files have their names


class TableRows(RowSource):
    """The rows of a table or of a record batch. Nulls and NaN are missing values."""

    def __init__(self, table: pa.Table | pa.RecordBatch) -> None:
        self._table = table

    def read(self, columns: ModelColumns, strict: bool) -> Iterator[Rows]:
        table = self._table
        names = table.schema.names
        if not names and not table.num_rows:
            return
        columns.check(SOURCE, names, strict)
        values = {name: table.column(names.index(name)) for name in columns.features}
        metadata = {name: table.schema.field(names.index(name)).metadata for name in columns.features}
        for start in range(0, max(table.num_rows, 1), blocks.BLOCK_ROWS):
            arrays = {
                name: _to_array(column.slice(start, blocks.BLOCK_ROWS), metadata[name])
                for name, column in values.items()
            }
            yield Rows(arrays, SOURCE, start + 1, typed=True)

    def convert(self, predictions: Predictions) -> pa.Table | pa.RecordBatch:
        """Return a table, or a record batch if the rows are one. Columns that are named by a class have its text."""
        names = [str(name) for name in predictions.names]
        return type(self._table).from_arrays(list(predictions.values), names=names)


def _to_array(values: pa.Array | pa.ChunkedArray, metadata: FieldMetadata | None) -> pa.Array:
    if not isinstance(values, pa.ChunkedArray):
        return to_plain_layout(values, metadata)
    if values.num_chunks == 0:
        return pa.nulls(0)
    return pa.concat_arrays([to_plain_layout(chunk, metadata) for chunk in values.chunks])
