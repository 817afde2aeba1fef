"""From the rows of part files to blocks of predictions: read, filter, score, and add ids, labels and other columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fusionzoo import errors
from fusionzoo.artifacts.prediction_formats import PREDICTION_FORMATS
from fusionzoo.artifacts.predictions import Predictions
from fusionzoo.data.data_settings import ROW_ID
from fusionzoo.data.ids import can_be_written, cast_ids, find_common_type, has_common_type
from fusionzoo.data.preprocessor import get_ids
from fusionzoo.data.reading.channel import Channel
from fusionzoo.data.reading.formats import DELIMITED
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.reading.value_kinds import describe_type
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.prediction.input_files import SCANNED_ROWS, ColumnsRead, open_part
from fusionzoo.prediction.local_engine import Engine
from fusionzoo.prediction.output_files import PredictionFile
from fusionzoo.prediction.row_problems import RowFilter
from fusionzoo.serving.predictor import ScoredRows
from fusionzoo.serving.scoring import check_finite
from fusionzoo.tasks.task import Task

SCORED_ROWS = 2048
"""Rows that are scored at once: enough to form batches of similar length, few enough to show progress."""


@dataclass(frozen=True)
class BlockMaker:
    """Makes the predictions of a prediction file.

    Args:
        task: the task of the model.
        columns: the columns that are read.
        engine: scores the rows.
    """

    task: Task
    columns: ColumnsRead
    engine: Engine

    @property
    def id_name(self) -> str:
        """The name of the id column of the predictions."""
        return self.columns.id_name or ROW_ID

    def make(self, part: PredictionFile, row_filter: RowFilter | None = None) -> Iterator[Predictions]:
        """Yield the predictions of all rows in their order; one block without rows if there are none.

        Args:
            part: the prediction file.
            row_filter: leaves rows out that cannot be scored; None if they are an error.

        Raises:
            errors.DataError: a file cannot be read, or values cannot be encoded.
            errors.ScoresError: the model computes NaN or infinity for rows, and there is no `row_filter`.
            PredictionJobError: labels, ids or other columns cannot be written.
        """
        types = self._find_types(part)
        files = part.files if row_filter is None else row_filter.prepare(part.files)
        rows = split_blocks(self._open(files, self.columns.names))
        has_blocks = False
        for scored in self.engine.score(rows if row_filter is None else row_filter.filter(rows)):
            if row_filter is None:
                check_finite(scored.rows, scored.scores)
            else:
                scored = row_filter.filter_scored(scored)
            has_blocks = True
            yield self._make_block(scored, types)
        if not has_blocks:
            yield self._make_block(self._score_nothing(part), types)

    def _open(self, files: Sequence[PartFile], names: Sequence[str]) -> Channel:
        """Return the rows of these files. Carried columns of JSON keep the type of each value, as ids do."""
        carried = set(self.columns.carried).difference(self.columns.features, self.columns.labels)
        options = [replace(file.options, id_columns=file.options.id_columns | carried) for file in files]
        return open_part([replace(file, options=o) for file, o in zip(files, options, strict=True)], names)

    def _make_block(self, scored: ScoredRows, types: Mapping[str, pa.DataType]) -> Predictions:
        rows = scored.rows
        self._check_late_columns(rows)
        ids = get_ids(rows, self.columns.id_name)
        carried = {name: rows.columns[name] for name in self.columns.carried}
        for name, values in carried.items():
            if not can_be_written(values.type):
                raise PredictionJobError.carried_nested(rows.source, name, describe_type(values.type))
        ids = cast_ids(ids, types.get(self.id_name, ids.type))
        carried = {name: cast_ids(values, types.get(name, values.type)) for name, values in carried.items()}
        return Predictions(self.id_name, self.task, ids, self._encode_labels(rows), scored.scores, carried)

    def _check_late_columns(self, rows: Rows) -> None:
        for name in self.columns.late:
            given = np.flatnonzero(rows.columns[name].is_valid().to_numpy(zero_copy_only=False))
            if len(given):
                raise PredictionJobError.late_column(rows.locate(int(given[0])), name, SCANNED_ROWS)

    def _encode_labels(self, rows: Rows) -> np.ndarray | None:
        if not self.columns.labels:
            return None
        try:
            with errors.scoring_fixes():
                return self.task.target.encode(rows, optional=True)
        except errors.DataError as cause:
            raise PredictionJobError.invalid_labels(cause) from cause

    def _score_nothing(self, part: PredictionFile) -> ScoredRows:
        empty = Rows({name: pa.array([], pa.string()) for name in self.columns.names}, part.files[0].name, 1, False)
        return ScoredRows(empty, np.zeros((0, self.task.target.num_outputs), np.float32))

    def _find_types(self, part: PredictionFile) -> dict[str, pa.DataType]:
        """Return the types of the ids and carried columns; empty if every block has the same ones, or may have others.

        JSON has types of values instead of columns, and files may differ: their rows are then read twice.

        Raises:
            PredictionJobError: values have no common type.
        """
        formats = {file.format for file in part.files}
        is_uniform = formats <= {*DELIMITED} or (len(part.files) == 1 and "jsonl" not in formats)
        if is_uniform or not PREDICTION_FORMATS[part.format].has_types:
            return {}
        ids = [] if self.columns.id_name is None else [self.columns.id_name]
        columns: dict[str, set[pa.DataType]] = {name: set() for name in [*ids, *self.columns.carried]}
        for rows in self._open(part.files, list(columns)) if columns else ():
            for name, types in columns.items():
                types.add(rows.columns[name].type)
        for name, types in columns.items():
            if not has_common_type(types):
                raise PredictionJobError.mixed_types(name, sorted(map(str, types)))
        return {name: find_common_type(types) for name, types in columns.items()}


def split_blocks(blocks: Iterable[Rows]) -> Iterator[Rows]:
    """Yield all rows in blocks of at most `SCORED_ROWS`."""
    for rows in blocks:
        for start in range(0, len(rows), SCORED_ROWS):
            yield rows.slice(start, min(start + SCORED_ROWS, len(rows)))
