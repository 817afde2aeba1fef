"""Problems of values in the rows of one column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from fusionzoo.errors.base import Problem
from fusionzoo.errors.wording import pluralize, pluralize_verb

MAX_EXAMPLES = 3
"""The rows that a message names."""

RECORDS = "records"
"""The source of rows that are a Python list, in messages."""


def name_record(index: int) -> str:
    """Return what messages call an element of a list of records: as Python does, so that users can look it up."""
    return f"{RECORDS}[{index}]"


@dataclass(frozen=True)
class RowPlace:
    """Where a row came from: the file or request, and the row number, which starts at 1 and counts no header."""

    source: str
    number: int

    def __str__(self) -> str:
        return name_record(self.number - 1) if self.source == RECORDS else f"{self.source} row {self.number}"


Example = tuple[RowPlace, object]
"""A row and its value in the column."""


@dataclass(frozen=True)
class ValuesProblem(Problem):
    """Values of one column that cannot be used; the same ones in several blocks of a file are one problem.

    Attributes:
        source: the split, file or request.
        noun: what each value is, such as "label".
        description: what is wrong with one value, such as "is null".
        plural: the same for several values.
        count: the number of values.
        examples: the first `MAX_EXAMPLES`.
        present: the values of the column that are not null, in the blocks with this problem; 0 if they are not counted.
        block_rows: the rows of these blocks.
        concerns_all: whether all values of the source are wrong.
    """

    source: str
    noun: str
    description: str
    plural: str
    count: int
    examples: tuple[Example, ...]
    present: int = field(default=0, kw_only=True)
    block_rows: int = field(default=0, kw_only=True)
    concerns_all: bool = field(default=False, kw_only=True)

    @classmethod
    def of(
        cls,
        where: tuple[str, str],
        what: tuple[str, str] | tuple[str, str, str],
        count: int,
        examples: Sequence[Example],
        fix: str,
        code: str,
    ) -> ValuesProblem:
        """Return the problem of `count` values.

        Args:
            where: the split, file or request, and the column.
            what: a noun and what is wrong with one, such as ("label", "is null"); and with several, if it is more than
                the verb that differs.
            count: the number of values.
            examples: the first rows and their values; None is not shown.
            fix, code: as in every problem.
        """
        source, column = where
        noun, description, *plurals = what
        plural = plurals[0] if plurals else pluralize_verb(description)
        place = f"{source}, column '{column}'"
        problem = cls(place, "", fix, code, source, noun, description, plural, 0, (), column=column)
        return problem._add(count, examples)

    def out_of(self, present: int, block_rows: int) -> ValuesProblem:
        """Return the problem of a block with this number of values that are not null, and of rows."""
        return replace(self, present=present, block_rows=block_rows)

    def with_reason(self, reason: str) -> ValuesProblem:
        """Return the problem with a clause after what is wrong, such as ", and task is regression"."""
        return replace(self, description=self.description + reason, plural=self.plural + reason)._add(0, ())

    def of_whole_source(self, rows: Mapping[str, int]) -> ValuesProblem:
        """Return the problem so that it says whether all values are wrong, by the number of all rows of each source."""
        concerns_all = self.count == self.present and self.block_rows == rows.get(self.source)
        return replace(self, concerns_all=concerns_all)._add(0, ()) if concerns_all else self

    def merge(self, other: ValuesProblem) -> ValuesProblem:
        """Return this problem and the same one of a later block as one."""
        merged = self._add(other.count, other.examples)
        return merged.out_of(self.present + other.present, self.block_rows + other.block_rows)

    def _add(self, count: int, examples: Sequence[Example]) -> ValuesProblem:
        count, shown = self.count + count, (*self.examples, *examples)[:MAX_EXAMPLES]
        values = [str(row) if value is None else f"{row} {str(value)[:40]!r}" for row, value in shown]
        number = f"{'all ' if self.concerns_all and count > 1 else ''}{pluralize(count, self.noun)}"
        message = f"{number} {self.description if count == 1 else self.plural}: {', '.join(values)}"
        rows = tuple(row.number for row, _ in shown)
        return replace(self, message=message, count=count, examples=shown, rows=rows)
