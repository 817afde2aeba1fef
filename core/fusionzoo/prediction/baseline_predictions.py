"""The predictions of a baseline: read from a file or folder in the form of prediction files, and matched with rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fusionzoo import errors
from fusionzoo.data.data_settings import ROW_ID
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading.channel import Channel, open_path
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.table.categories import canonicalize_column
from fusionzoo.data.table.numbers import column_as_numbers
from fusionzoo.data.targets.target import find_labeled_rows
from fusionzoo.errors.baseline_errors import BaselineError
from fusionzoo.errors.value_problems import MAX_EXAMPLES
from fusionzoo.evaluation.split_evaluation import ScoredSplit
from fusionzoo.prediction.input_files import ColumnsRead, InputFiles, open_part
from fusionzoo.tasks.task import Task

CLASS_PREFIX = "prob_"
_MakeError = Callable[[str, str, int, Sequence[str | None]], BaselineError]


@dataclass(frozen=True)
class RowKeys:
    """What rows are matched by: canonical ids [rows], and encoded labels [rows] or [rows, ...]; None without labels."""

    ids: pa.Array
    labels: np.ndarray | None

    @classmethod
    def collect(cls, blocks: Iterable[Rows], task: Task, id_name: str | None, *, has_labels: bool) -> RowKeys:
        """Return the keys of all rows; without an id column, the id is FILE:ROW.

        Raises:
            errors.DataError: ids or labels that cannot be used.
        """
        ids, labels = [pa.array([], pa.string())], []
        for rows in blocks:
            ids.append(rows.row_ids() if id_name is None else canonicalize_column(rows, id_name))
            if has_labels:
                labels.append(task.target.encode(rows, optional=True))
        return cls(pa.concat_arrays(ids), np.concatenate(labels) if labels else None)


@dataclass(frozen=True)
class BaselinePredictions:
    """The predictions of a baseline in the order of its file.

    Attributes:
        path: what the user gave.
        id_name: the name of the id column.
        keys: the ids, and the labels if the file has them.
        scores: [rows, outputs].
    """

    path: str
    id_name: str
    keys: RowKeys
    scores: NDArray[np.float32]

    def match(self, rows: RowKeys) -> NDArray[np.float32]:
        """Return the scores in the order of the rows of the input, [rows, outputs].

        Rows are matched by their order if the ids are the same in the same order, and otherwise by unique ids.

        Raises:
            BaselineError: ids that are not unique, other rows, or other labels.
        """
        own = self.keys.ids
        if rows.ids.equals(own):
            order = np.arange(len(own))
        else:
            for where, ids in ((f"The baseline {self.path}", own), ("The input", rows.ids)):
                self._check_unique(where, ids)
            positions = pc.index_in(rows.ids, value_set=own)
            self._raise_for(BaselineError.missing_rows, rows.ids, positions.is_null())
            order = positions.to_numpy(zero_copy_only=False).astype(np.int64)
            is_used = np.zeros(len(own), bool)
            is_used[order] = True
            self._raise_for(BaselineError.other_rows, own, pa.array(~is_used))
        if rows.labels is not None and self.keys.labels is not None:
            self._check_labels(rows.ids, rows.labels, self.keys.labels[order])
        return self.scores[order]

    def _check_unique(self, where: str, ids: pa.Array) -> None:
        counted = pc.value_counts(ids)
        is_repeated = pc.greater(counted.field("counts"), 1)
        repeated = counted.filter(is_repeated).field("values")
        if count := len(ids) - len(counted):
            raise BaselineError.duplicate_ids(where, self.id_name, count, repeated[:MAX_EXAMPLES].to_pylist())

    def _check_labels(self, ids: pa.Array, labels: np.ndarray, own: np.ndarray) -> None:
        is_known = find_labeled_rows(labels) & find_labeled_rows(own)
        differs = (labels != own).reshape(len(labels), -1).any(axis=1)
        self._raise_for(BaselineError.other_labels, ids, pa.array(is_known & differs))

    def _raise_for(self, make_error: _MakeError, ids: pa.Array, mask: pa.Array) -> None:
        selected = ids.filter(mask)
        if len(selected):
            raise make_error(self.path, self.id_name, len(selected), selected[:MAX_EXAMPLES].to_pylist())


def score_with_baseline(path: Path, inputs: InputFiles, columns: ColumnsRead, task: Task) -> NDArray[np.float32]:
    """Return the scores of the baseline for all rows of the input, in their order, [rows, outputs].

    Args:
        path: the file or folder of its predictions, see `read_baseline`.
        inputs: the files with the rows.
        columns: the columns of the rows that are read; the label columns are among them.
        task: the task of the model that is compared.

    Raises:
        errors.DataError: see `read_baseline`.
        BaselineError: the predictions are not those of these rows, or cannot be evaluated.
    """
    baseline = read_baseline(path, task, columns.id_name or ROW_ID)
    names = [*([] if columns.id_name is None else [columns.id_name]), *columns.labels]
    rows = RowKeys.collect(open_part(inputs.files, names), task, columns.id_name, has_labels=True)
    scores = baseline.match(rows)
    try:
        labeled = ScoredSplit(np.asarray(rows.labels), scores).labeled_rows()
        task.compute_metrics(labeled.labels, labeled.scores)
    except errors.ScoresError as cause:
        raise BaselineError.invalid_scores(baseline.path, cause) from cause
    return scores


def read_baseline(path: Path, task: Task, id_name: str) -> BaselinePredictions:
    """Read the predictions of a baseline.

    Args:
        path: a file or a folder. Of the output folder of a training job, only `test_predictions.*` is read.
        task: the task of the model that is compared.
        id_name: the id column of the predictions.

    Raises:
        errors.DataError: a file is missing, damaged, or a score is not a number.
        BaselineError: the predictions are those of other classes or targets, or ids or scores are missing.
    """
    channel = open_path(find_predictions(path), [id_name], ReadOptions(max_file_bytes=inf, max_expansion=inf))
    has_labels = _check_columns(channel, task, id_name)
    scores = _read_scores(channel.with_columns(task.score_columns), task.score_columns)
    try:
        labels = task.label_columns if has_labels else []
        with errors.scoring_fixes():
            keys = RowKeys.collect(channel.with_columns([id_name, *labels]), task, id_name, has_labels=has_labels)
    except errors.DataError as cause:
        raise BaselineError.unknown_keys(channel.name, cause) from cause
    return BaselinePredictions(channel.name, id_name, keys, scores)


def find_predictions(path: Path) -> Path:
    """Return the predictions for the test channel if the path is a folder that has them; otherwise the path."""
    files = [file for file in path.glob("test_predictions.*") if file.is_file()] if path.is_dir() else []
    return files[0] if len(files) == 1 else path


def _check_columns(channel: Channel, task: Task, id_name: str) -> bool:
    """Check the names of the columns, and return whether there are labels.

    Raises:
        BaselineError: the ids or scores of the task are missing, or there are scores of other classes.
    """
    present = channel.list_all_columns()
    if missing := [name for name in (id_name, *task.score_columns) if name not in present]:
        raise BaselineError.missing_columns(channel.name, missing, present)
    names = {*task.score_columns, *task.label_columns}
    if task.classes and (other := [name for name in present if name.startswith(CLASS_PREFIX) and name not in names]):
        raise BaselineError.other_classes(channel.name, other, task.score_columns)
    return set(task.label_columns) <= set(present)


def _read_scores(channel: Channel, names: Sequence[str]) -> NDArray[np.float32]:
    """Return the scores, [rows, outputs].

    Raises:
        errors.DataError: a score is not a number.
        BaselineError: scores are missing, or there are no rows.
    """
    problems, blocks, missing, first = ProblemLog(), [], 0, ""
    for rows in channel:
        with problems.collect():
            values = np.stack([column_as_numbers(rows, name) for name in names], axis=1)
            blocks.append(values.astype(np.float32))
            absent = np.flatnonzero(np.isnan(values).any(axis=1))
            missing += len(absent)
            first = first or (str(rows.locate(int(absent[0]))) if len(absent) else "")
    problems.raise_if_any()
    if missing:
        raise BaselineError.missing_scores(channel.name, missing, first)
    if not sum(map(len, blocks)):
        raise BaselineError.no_rows(channel.name)
    return np.concatenate(blocks)
