"""The labels of each split: how often each class or label occurs, or the range of the numbers to predict."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from fusionzoo.data.reading.rows import Rows
from fusionzoo.data.targets.class_labels import MIN_DISTINCT_NUMBERS, ClassLabelScan, LabelMap
from fusionzoo.data.targets.target import Target, TargetScan
from fusionzoo.preprocessing.column_statistics import NumberSummary
from fusionzoo.settings import JobSettings

log = logging.getLogger(__name__)


class SplitLabels:
    """The labels of one split, encoded by the target that was fitted on train."""

    def __init__(self, target: Target, columns: list[str]) -> None:
        self._target, self._columns = target, columns
        self._rows = 0
        self._rows_of_label = np.zeros(target.num_outputs, np.int64)
        self._numbers = [NumberSummary() for _ in columns]
        self._are_numbers = False

    def add(self, rows: Rows) -> None:
        """Add a block of rows.

        Raises:
            errors.DataError: a label is invalid; names rows.
        """
        labels = self._target.encode(rows)
        self._rows += len(labels)
        if labels.dtype.kind == "f":
            self._are_numbers = True
            for column, summary in enumerate(self._numbers):
                summary.add(labels[:, column])
        elif labels.ndim == 1:
            self._rows_of_label += np.bincount(labels, minlength=len(self._rows_of_label))
        else:
            self._rows_of_label += (labels == 1).sum(axis=0)

    def as_json(self) -> dict[str, Any]:
        """Return the rows and the share of each label, or the summary of each column of numbers."""
        if self._are_numbers:
            return {name: summary.as_json() for name, summary in zip(self._columns, self._numbers, strict=True)}
        return {
            name: {"rows": rows, "share": rows / self._rows if self._rows else 0.0}
            for name, rows in zip(self._target.output_names, self._rows_of_label.tolist(), strict=True)
        }


def fit_target(scan: TargetScan, settings: JobSettings) -> Target:
    """Return the target as training will fit it; the number of classes is the number of labels found in train.

    Raises:
        errors.DataError: training would refuse the labels, because there is only one class, for example.
    """
    if isinstance(scan, ClassLabelScan):
        settings = settings.model_copy(update={"num_classes": len(scan.counts)})
    target = scan.fit(settings)
    if isinstance(target, LabelMap) and target.is_ordered and len(target.classes) >= MIN_DISTINCT_NUMBERS:
        log.warning(
            "Column '%s' has %d different numbers, and each is a class. To predict a number, give --task regression.",
            *(target.name, len(target.classes)),
        )
    return target
