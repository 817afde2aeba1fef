"""The base classes: an error that a user can fix, and one of several problems of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from fusionzoo.errors.wording import pluralize, printable

if TYPE_CHECKING:
    from typing_extensions import Self

MAX_LISTED_PROBLEMS = 20
MAX_MESSAGE_LENGTH = 1024
"""Characters; SageMaker shows no more of them as a job's FailureReason."""
MAX_PROBLEM_LENGTH, MAX_PLACE_LENGTH, MAX_FIX_LENGTH = 900, 150, 350
"""Characters of a problem, its place and its fix: with the heading, a problem fits into `MAX_MESSAGE_LENGTH`."""


class ZooError(Exception):
    """Base of every error that a user can fix; `train.py` reports it without a stack trace.

    Args:
        message: what is wrong, in whole sentences; cut where it would push the fix out of a FailureReason.
        fix: what the user can do about it, with its own full stop; empty for a list of problems.
        code: a stable identifier such as "FZ-D001", listed in docs/errors.md.
    """

    def __init__(self, message: str, fix: str = "", code: str = "") -> None:
        self.message, self.fix, self.code = message, fix, code
        text = _fit_parts(message, f"\nFix: {shorten(fix, MAX_FIX_LENGTH)} [{code}]") if fix else message
        super().__init__(printable(text))

    @property
    def parts(self) -> tuple[str, str]:
        """What is wrong, and the fix with the code; each on one line."""
        message, _, fix = str(self).partition("\nFix: ")
        return " ".join(message.split()), " ".join(fix.split())


def _fit_parts(message: str, ending: str) -> str:
    """Return the message with its ending, the message shortened so that both fit into `MAX_MESSAGE_LENGTH`."""
    return shorten(message, MAX_MESSAGE_LENGTH - len(ending)) + ending


def shorten(text: str, length: int) -> str:
    """Return the text, without its middle if it has more than `length` characters."""
    if len(text) <= length:
        return text
    start = (length - 3) // 2
    return f"{text[:start]}...{text[start + 3 - length :]}"


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with an input.

    Attributes:
        where: the channel, file, row, column or setting.
        message: what is wrong there; a clause without a full stop.
        fix: what the user can do about it; a clause without a full stop.
        code: a stable identifier such as "FZ-D001", listed in docs/errors.md.
        column: the column that it is about, if it is one.
        rows: the numbers of the rows that the message names; they start at 1 and do not count a header.
        scoring_fix: what to do if a trained model scores the input, so that no setting can be changed; empty if `fix`
            applies then too.
    """

    where: str
    message: str
    fix: str
    code: str
    column: str | None = field(default=None, kw_only=True)
    rows: tuple[int, ...] = field(default=(), kw_only=True)
    scoring_fix: str = field(default="", kw_only=True)

    @classmethod
    def of_column(
        cls, source: str, column: str, message: str, fix: str, code: str, *, rows: tuple[int, ...] = ()
    ) -> Problem:
        """Return the problem of one column of a split, a file or a request; `source` is empty if it is about all."""
        where = f"{source}, column '{column}'" if source else f"column '{column}'"
        return Problem(where, message, fix, code, column=column, rows=rows)

    def with_scoring_fix(self, fix: str) -> Self:
        """Return the problem with what to do if a trained model scores the input."""
        return replace(self, scoring_fix=fix)

    def for_scoring(self) -> Self:
        """Return the problem with the fix for an input that a trained model scores."""
        return replace(self, fix=self.scoring_fix or self.fix, scoring_fix="")

    def __str__(self) -> str:
        where, message, fix = self.where, self.message, self.fix
        if len(where) + len(message) + len(fix) > MAX_PROBLEM_LENGTH:
            where, fix = shorten(where, MAX_PLACE_LENGTH), shorten(fix, MAX_FIX_LENGTH)
            message = shorten(message, MAX_PROBLEM_LENGTH - len(where) - len(fix))
        return printable(f"{where}: {message}. Fix: {fix}. [{self.code}]")


class Advice(NamedTuple):
    """What to do about an input, and what if a trained model scores it, so that no setting can be changed."""

    fix: str
    scoring_fix: str


class ProblemsError(ZooError):
    """All problems of one input, reported together; `problems` holds them."""

    heading = "{count} found"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [self.heading.format(count=pluralize(len(self.problems), "problem"))]
        lines += [f"- {problem}" for problem in self.problems[:MAX_LISTED_PROBLEMS]]
        if len(self.problems) > MAX_LISTED_PROBLEMS:
            lines.append(f"- and {len(self.problems) - MAX_LISTED_PROBLEMS} more")
        super().__init__("\n".join(lines))


def add_note(error: BaseException, note: str) -> None:
    """Add a line to what is reported about an exception, as `BaseException.add_note` of Python 3.11 does."""
    error.__notes__ = [*getattr(error, "__notes__", ()), note]
