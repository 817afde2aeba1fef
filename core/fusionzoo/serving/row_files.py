"""Files and folders as input of a predictor: every format that training reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from fusionzoo import errors
from fusionzoo.data.ids import cast_ids, find_common_type, has_common_type
from fusionzoo.data.reading.channel import Channel, open_path
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.serving.row_source import ModelColumns, Predictions, RowSource


class FileRows(RowSource):
    """The rows of a file, or of all files of a folder. Their ids, if they have any, are part of the result."""

    def __init__(self, path: Path, options: ReadOptions) -> None:
        self._path, self._options = path, options
        self._id_name: str | None = None
        self._ids: dict[str, list[pa.Array]] = {}  # by file

    def read(self, columns: ModelColumns, strict: bool) -> Iterator[Rows]:
        channel, self._id_name = open_model_columns(self._path, columns, self._options, strict)
        for rows in channel:
            if self._id_name is not None:
                self._ids.setdefault(rows.source, []).append(rows.columns[self._id_name])
            yield rows

    def convert(self, predictions: Predictions) -> pa.Table:
        """Return a table. The first column has the ids if all files have the id column of the model."""
        names, values = [str(name) for name in predictions.names], list(predictions.values)
        if self._id_name is None:
            return pa.Table.from_arrays(values, names=names)
        return pa.Table.from_arrays([self._join_ids(self._id_name), *values], names=[self._id_name, *names])

    def _join_ids(self, id_name: str) -> pa.ChunkedArray:
        types = {ids.type: source for source, blocks in self._ids.items() for ids in blocks}
        if not has_common_type(set(types)):
            kinds = {str(id_type): source for id_type, source in types.items()}
            raise errors.DataError([errors.ids_without_common_type(id_name, kinds)])
        id_type = find_common_type(set(types))
        ids = [cast_ids(block, id_type) for blocks in self._ids.values() for block in blocks]
        return pa.chunked_array(ids, id_type).combine_chunks()


def open_model_columns(
    path: Path, columns: ModelColumns, options: ReadOptions, strict: bool
) -> tuple[Channel, str | None]:
    """Open a file or folder to read the features, and the ids if all files have them; and return the id column.

    Raises:
        errors.DataError: a file lacks a feature or cannot be read, or the folder holds no data.
        errors.PredictorInputError: `strict`, and there are columns that the model does not know.
    """
    channel = open_path(path, columns.features, options)
    channel, id_name = select_model_columns(channel, columns)
    if strict:
        columns.refuse_unknown(str(path), channel.list_all_columns())
    return channel, id_name


def select_model_columns(channel: Channel, columns: ModelColumns) -> tuple[Channel, str | None]:
    """Return the channel to read the features, and the ids if all files have them; and the id column.

    Raises:
        errors.DataError: a file lacks a feature or cannot be read.
    """
    id_name = columns.id_name if columns.id_name is not None and channel.has_column(columns.id_name) else None
    wanted = list(columns.features)
    if id_name is not None and id_name not in wanted:
        wanted.append(id_name)
    return channel.with_columns(wanted, columns.describe_absent), id_name
