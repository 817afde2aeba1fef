"""Collect the problems of several steps, so that a user sees all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fusionzoo import errors
from fusionzoo.errors.value_problems import ValuesProblem

if TYPE_CHECKING:
    from fusionzoo.data.reading.rows import Rows


class ProblemLog:
    """The problems found so far; the same problem in several blocks of a file is one."""

    def __init__(self) -> None:
        self._problems: dict[object, errors.Problem] = {}
        self._rows: Counter[str] = Counter()

    def count_rows(self, rows: Rows) -> None:
        """Count the rows of a block that is checked, so that a problem can say that it concerns all values."""
        self._rows[rows.source] += len(rows)

    @property
    def problems(self) -> list[errors.Problem]:
        """The problems so far, in the order in which they were added."""
        problems = self._problems.values()
        return [p.of_whole_source(self._rows) if isinstance(p, ValuesProblem) else p for p in problems]

    @contextmanager
    def collect(self) -> Iterator[None]:
        """Add the problems of a DataError that the block raises, and continue after the block."""
        try:
            yield
        except errors.DataError as error:
            for problem in error.problems:
                self.add(problem)

    def add(self, problem: errors.Problem) -> None:
        """Add a problem; join it with an earlier one about the same values of the same column."""
        key = (problem.where, problem.description) if isinstance(problem, ValuesProblem) else problem
        earlier = self._problems.get(key)
        if isinstance(earlier, ValuesProblem) and isinstance(problem, ValuesProblem):
            problem = earlier.merge(problem)
        self._problems[key] = problem

    def raise_if_any(self) -> None:
        """Raise errors.DataError with all problems so far."""
        if self._problems:
            raise errors.DataError(self.problems)
