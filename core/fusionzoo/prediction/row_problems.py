"""Rows that cannot be scored: find them, and list them in a file instead of stopping."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import BinaryIO

import numpy as np

from fusionzoo import errors
from fusionzoo.data.preprocessor import Preprocessor
from fusionzoo.data.reading.column_text import column_as_text
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors.value_problems import ValuesProblem
from fusionzoo.serving.predictor import ScoredRows
from fusionzoo.serving.scoring import find_nonfinite_rows

Check = Callable[[Rows], object]
HEADING = ("file", "row", "column", "reason")


@dataclass(frozen=True)
class RowProblem:
    """What is wrong with one row; `row` starts at 1 and does not count a header."""

    file: str
    row: int
    column: str
    reason: str


class ProblemFile:
    """A CSV file of row problems."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._write(HEADING)

    def add(self, problem: RowProblem) -> None:
        """Write a problem."""
        self._write((problem.file, str(problem.row), problem.column, problem.reason))

    def _write(self, values: tuple[str, ...]) -> None:
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\n").writerow(values)
        self._file.write(line.getvalue().encode("utf-8", "backslashreplace"))


@dataclass
class RowFilter:
    """Leaves the rows out that cannot be scored, and adds them to `problems`; `rejected` counts them."""

    preprocessor: Preprocessor
    has_labels: bool
    problems: ProblemFile
    rejected: int = field(default=0, init=False)

    def prepare(self, files: Sequence[PartFile]) -> list[PartFile]:
        """Return the files so that rows are added to the problems that their format does not allow."""
        return [replace(file, options=replace(file.options, reject_row=self._reject)) for file in files]

    def _reject(self, name: str, row: int, column: str, reason: str) -> None:
        self.rejected += 1
        self.problems.add(RowProblem(name, row, column, reason))

    def filter(self, blocks: Iterator[Rows]) -> Iterator[Rows]:
        """Yield the rows of each block that can be scored.

        Raises:
            errors.DataError: a column cannot be used in any row.
        """
        for rows in blocks:
            reasons = self._find_reasons(rows)
            for index in sorted(reasons):
                for column, reason in reasons[index]:
                    self.problems.add(RowProblem(rows.source, rows.row_number(index), column, reason))
            if reasons:
                self.rejected += len(reasons)
                mask = np.ones(len(rows), bool)
                mask[list(reasons)] = False
                rows = rows.filter(mask)
            if len(rows):
                yield rows

    def filter_scored(self, scored: ScoredRows) -> ScoredRows:
        """Return the rows with finite scores, and add the others to the problems."""
        wrong = find_nonfinite_rows(scored.scores)
        if not len(wrong):
            return scored
        for index in wrong:
            number = scored.rows.row_number(int(index))
            self.problems.add(RowProblem(scored.rows.source, number, "", "the prediction is NaN or infinite"))
        self.rejected += len(wrong)
        mask = np.ones(len(scored.rows), bool)
        mask[wrong] = False
        return ScoredRows(scored.rows.filter(mask), scored.scores[mask])

    def _find_reasons(self, rows: Rows) -> dict[int, list[tuple[str, str]]]:
        """Return the columns and reasons by the index of the row."""
        features = self.preprocessor.null_words.replace(rows)
        reasons: dict[int, list[tuple[str, str]]] = {}
        for column, check in self._checks():
            block = rows if column in self.preprocessor.settings.label_columns else features
            for index, reason in find_invalid_rows(block, check).items():
                reasons.setdefault(index, []).append((column, reason))
        return reasons

    def _checks(self) -> Iterator[tuple[str, Check]]:
        preprocessor = self.preprocessor
        for text in preprocessor.settings.text_columns:
            yield text, lambda rows, name=text: column_as_text(rows, name)  # type: ignore[misc]
        for category in preprocessor.categories:
            yield category.name, category.encode
        for number in preprocessor.numbers:
            yield number.name, number.encode
        if self.has_labels:
            name = ", ".join(preprocessor.settings.label_columns)
            yield name, lambda rows: preprocessor.target.encode(rows, True)


def find_invalid_rows(rows: Rows, check: Check) -> dict[int, str]:
    """Return the reason for each row that `check` rejects, by the index of the row.

    Raises:
        errors.DataError: the check rejects the type of the column, which is the same in all rows.
    """
    check(rows.slice(0, 0))
    reasons: dict[int, str] = {}
    parts = [(0, rows)]
    while parts:
        start, part = parts.pop()
        try:
            check(part)
        except errors.DataError as error:
            if len(part) == 1:
                reasons[start] = "; ".join(map(_describe, error.problems))
                continue
            middle = len(part) // 2
            parts += [(start, part.slice(0, middle)), (start + middle, part.slice(middle, len(part)))]
    return reasons


def _describe(problem: errors.Problem) -> str:
    if not isinstance(problem, ValuesProblem) or not problem.examples:
        return problem.message
    _, value = problem.examples[0]
    return f"{problem.noun} {problem.description}" + ("" if value is None else f": {str(value)[:80]!r}")
