"""Problems of values in the rows of one column."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fusionzoo.errors.base import Problem
from fusionzoo.errors.wording import pluralize

MAX_EXAMPLES = 3
"""The rows that a message names."""


@dataclass(frozen=True)
class RowPlace:
    """Where a row came from: the file or request, and the row number, which starts at 1 and counts no header."""

    source: str
    number: int

    def __str__(self) -> str:
        return f"{self.source} row {self.number}"


Example = tuple[RowPlace, object]
"""A row and its value in the column."""


@dataclass(frozen=True)
class ValuesProblem(Problem):
    """Values of one column that cannot be used; the same ones in several blocks of a file are one problem."""

    noun: str
    description: str
    count: int
    examples: tuple[Example, ...]
    """The first `MAX_EXAMPLES`."""

    @classmethod
    def of(
        cls,
        where: tuple[str, str],
        what: tuple[str, str],
        count: int,
        examples: Sequence[Example],
        fix: str,
        code: str,
    ) -> ValuesProblem:
        """Return the problem of `count` values.

        Args:
            where: the split, file or request, and the column.
            what: a noun and what is wrong, such as ("label", "null").
            count: the number of values.
            examples: the first rows and their values; None is not shown.
            fix, code: as in every problem.
        """
        source, column = where
        problem = cls(f"{source}, column '{column}'", "", fix, code, *what, 0, (), column=column)
        return problem._add(count, examples)

    def merge(self, other: ValuesProblem) -> ValuesProblem:
        """Return this problem and the same one of a later block as one."""
        return self._add(other.count, other.examples)

    def _add(self, count: int, examples: Sequence[Example]) -> ValuesProblem:
        count, shown = self.count + count, (*self.examples, *examples)[:MAX_EXAMPLES]
        values = [str(row) if value is None else f"{row} {str(value)[:40]!r}" for row, value in shown]
        message = f"{pluralize(count, self.noun)} {self.description}: {', '.join(values)}"
        rows = tuple(row.number for row, _ in shown)
        return replace(self, message=message, count=count, examples=shown, rows=rows)
