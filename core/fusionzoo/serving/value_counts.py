"""How many values of scored rows the model does not know: missing values, new categories and clipped numbers."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.split_report import NumberShares, warn_of_clipping
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.data.table.numbers import find_clipped

ValueKind = Literal["missing", "unknown", "clipped"]
log = logging.getLogger(__name__)


@dataclass
class ValueCounts:
    """Counts of the values of category and number columns. They can be added up.

    Attributes:
        rows: the number of rows.
        values: for each column and kind that occurs, the number of values: "missing", "unknown" (a category that train
            does not have), or "clipped" (a number that is too far from the mean of train).
    """

    rows: int = 0
    values: Counter[tuple[str, ValueKind]] = field(default_factory=Counter)

    def add(self, other: ValueCounts) -> None:
        """Add the counts of other rows."""
        self.rows += other.rows
        self.values.update(other.values)

    def add_split(self, split: EncodedSplit, preprocessor: Preprocessor) -> None:
        """Add the rows of an encoded split."""
        self.rows += len(split)
        categories, numbers = [c.name for c in preprocessor.categories], [n.name for n in preprocessor.numbers]
        self._add_columns(categories, "missing", split.categories == MISSING)
        self._add_columns(categories, "unknown", split.categories == UNKNOWN)
        self._add_columns(numbers, "missing", split.numbers_missing)
        self._add_columns(numbers, "clipped", find_clipped(split.numbers))

    def warn_of_clipping(self, source: str) -> dict[str, str]:
        """Return a warning for each number column with clipped values, by its name. `source` says what was scored."""
        warnings = {}
        for column in [column for column, kind in self.values if kind == "clipped"]:
            missing, clipped = self.values[column, "missing"], self.values[column, "clipped"]
            shares = NumberShares(missing / self.rows, clipped / (self.rows - missing))
            (warnings[column],) = warn_of_clipping(source, {column: shares})
        return warnings

    def _add_columns(self, columns: Sequence[str], kind: ValueKind, mask: np.ndarray) -> None:
        """Add the number of true entries of each column of `mask` [rows, columns]."""
        for column, count in zip(columns, mask.sum(axis=0).tolist(), strict=True):
            if count:
                self.values[column, kind] += count


class ClippingLog:
    """Logs once per column that numbers were clipped, so that the clients of a server cannot fill its log.

    Several threads can use it at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: set[str] = set()

    def write(self, counts: ValueCounts) -> None:
        """Log the columns with clipped numbers that have not been logged before."""
        for column, warning in counts.warn_of_clipping("request").items():
            with self._lock:
                is_new = column not in self._logged
                self._logged.add(column)
            if is_new:
                log.warning("%s Later requests with such values are not logged.", warning)
