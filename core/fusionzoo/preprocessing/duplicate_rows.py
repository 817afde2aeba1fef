"""Rows and ids that occur more than once, also in two splits: they make the metrics of val and test too optimistic."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.ids import DuplicateIds
from fusionzoo.data.reading.column_text import has_text_form
from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.row_digests import compute_row_digests
from fusionzoo.data.splitting import TRAIN
from fusionzoo.errors.wording import pluralize
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)


class DuplicateRows:
    """Counts rows that are equal in all columns but the id. Memory: 16 bytes per row.

    Columns of bytes, durations and nested values are not compared, unless they are labels.
    """

    def __init__(self, settings: JobSettings, schema: pa.Schema, split_names: tuple[str, ...]) -> None:
        self._id_name, self._names = settings.id_name, split_names
        not_compared = {settings.id_name, *settings.label_columns}
        compared = [f.name for f in schema if f.name not in not_compared and has_text_form(f.type)]
        roles = {"text_name": None, "cat_field_list": compared, "tab_field_list": []}
        self._settings: DataSettings = settings.model_copy(update=roles)
        self._digests: list[np.ndarray] = []
        self._splits: list[np.ndarray] = []
        self._ids = DuplicateIds()

    def add(self, rows: Rows, assignment: np.ndarray) -> None:
        """Add a block of rows, with the position of each row's split."""
        self._digests.append(compute_row_digests(self._settings, rows, []))
        self._splits.append(assignment)
        if self._id_name is not None:
            self._ids.add(rows.columns[self._id_name])

    def report(self) -> dict[str, Any]:
        """Return the counts as plain values, and log a warning for those that are not zero."""
        digests, splits = np.concatenate(self._digests), np.concatenate(self._splits)
        train = np.unique(digests[splits == self._names.index(TRAIN)])
        also_in_train = {
            name: int(np.isin(digests[splits == position], train).sum())
            for position, name in enumerate(self._names)
            if name != TRAIN
        }
        duplicates = len(digests) - len(np.unique(digests))
        for name, count in also_in_train.items():
            if count:
                log.warning(
                    "%s: %s of %d also appear in train, with the same values in all columns but the id, so the metrics "
                    "of %s will be too optimistic. Remove the duplicate rows, or give --group-field a column that they "
                    "share.",
                    *(name, pluralize(count, "row"), int((splits == self._names.index(name)).sum()), name),
                )
        duplicate_ids = self._ids.count() if self._id_name is not None else None
        if duplicate_ids:
            log.warning("%s with a duplicate id.", pluralize(duplicate_ids, "row"))
        return {"duplicate_rows": duplicates, "duplicate_ids": duplicate_ids, "rows_also_in_train": also_in_train}
