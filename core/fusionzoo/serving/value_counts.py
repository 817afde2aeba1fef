"""How many values of scored rows the model does not know: missing values, new categories and words, clipped numbers."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fusionzoo.data.encoded import EncodedSplit
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.split_report import (
    NumberShares,
    count_tokens,
    warn_of_clipping,
    warn_of_unknown_categories,
    warn_of_unknown_tokens,
)
from fusionzoo.data.table.categories import MISSING, UNKNOWN
from fusionzoo.data.table.numbers import find_clipped

ValueKind = Literal["missing", "unknown", "clipped"]
MIN_ROWS = 10  # with a value; in fewer, a large share of new categories or words is ordinary
log = logging.getLogger(__name__)


@dataclass
class ValueCounts:
    """Counts of the values of category and number columns. They can be added up.

    Attributes:
        rows: the number of rows.
        values: for each column and kind that occurs, the number of values: "missing", "unknown" (a category that train
            does not have), or "clipped" (a number that is too far from the mean of train).
        texts: the number of rows with text.
        tokens: the number of tokens of the texts.
        unknown_tokens: those that the tokenizer does not know.
    """

    rows: int = 0
    values: Counter[tuple[str, ValueKind]] = field(default_factory=Counter)
    texts: int = 0
    tokens: int = 0
    unknown_tokens: int = 0

    def add(self, other: ValueCounts) -> None:
        """Add the counts of other rows."""
        self.rows += other.rows
        self.values.update(other.values)
        self.texts += other.texts
        self.tokens += other.tokens
        self.unknown_tokens += other.unknown_tokens

    def add_split(self, split: EncodedSplit, preprocessor: Preprocessor) -> None:
        """Add the rows of an encoded split."""
        self.rows += len(split)
        categories, numbers = [c.name for c in preprocessor.categories], [n.name for n in preprocessor.numbers]
        self._add_columns(categories, "missing", split.categories == MISSING)
        self._add_columns(categories, "unknown", split.categories == UNKNOWN)
        self._add_columns(numbers, "missing", split.numbers_missing)
        self._add_columns(numbers, "clipped", find_clipped(split.numbers))
        if preprocessor.text is not None:
            unknown, tokens = count_tokens(split, preprocessor.text.tokenizer)
            self.texts += len(split) - split.empty_texts
            self.tokens += tokens
            self.unknown_tokens += unknown or 0

    def warn_of_clipping(self, source: str) -> dict[str, str]:
        """Return a warning for each number column with clipped values, by its name. `source` says what was scored."""
        warnings = {}
        for column in [column for column, kind in self.values if kind == "clipped"]:
            missing, clipped = self.values[column, "missing"], self.values[column, "clipped"]
            shares = NumberShares(missing / self.rows, clipped / (self.rows - missing))
            (warnings[column],) = warn_of_clipping(source, {column: shares})
        return warnings

    def warn_of_unknown(self, source: str) -> dict[str, str]:
        """Return a warning for each category column with many values that train lacks, and one for unknown tokens.

        The latter has the name "". There is none about fewer than `MIN_ROWS` rows. `source` says what was scored.
        """
        warnings: dict[str, str] = {}
        for column in [column for column, kind in self.values if kind == "unknown"]:
            present = self.rows - self.values[column, "missing"]
            if present >= MIN_ROWS:
                share = self.values[column, "unknown"] / present
                warnings.update((column, text) for text in warn_of_unknown_categories(source, {column: share}))
        if self.texts >= MIN_ROWS and self.tokens:
            share = self.unknown_tokens / self.tokens
            warnings.update(("", text) for text in warn_of_unknown_tokens(source, share))
        return warnings

    def log_warnings(self) -> None:
        """Log the columns with clipped numbers, or with many unknown values, of rows that were scored."""
        for warnings in (self.warn_of_clipping("rows"), self.warn_of_unknown("rows")):
            for warning in warnings.values():
                log.warning(warning)

    def _add_columns(self, columns: Sequence[str], kind: ValueKind, mask: np.ndarray) -> None:
        """Add the number of true entries of each column of `mask` [rows, columns]."""
        for column, count in zip(columns, mask.sum(axis=0).tolist(), strict=True):
            if count:
                self.values[column, kind] += count


class UnusualValueLog:
    """Logs once per column that numbers were clipped or values are unknown: clients of a server cannot fill its log.

    Several threads can use it at the same time.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._logged: set[tuple[str, str]] = set()

    def write(self, counts: ValueCounts) -> None:
        """Log the columns with clipped numbers, or with many unknown values, that have not been logged before."""
        self._write("clipped", counts.warn_of_clipping("request"))
        self._write("unknown", counts.warn_of_unknown("request"))

    def _write(self, kind: str, warnings: Mapping[str, str]) -> None:
        for column, warning in warnings.items():
            with self._lock:
                is_new = (kind, column) not in self._logged
                self._logged.add((kind, column))
            if is_new:
                log.warning("%s Later requests with such values are not logged.", warning)
