"""What every failure is: an error for the user, or one of several faults of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.errors.wording import pluralize

LISTED_FAULTS = 20


class ZooError(Exception):
    """Base of every error that a user can mend; `train.py` reports it without a stack trace."""

    @property
    def parts(self) -> tuple[str, str]:
        """What happened, and what to do about it, each on one line."""
        problem, _, remedy = str(self).partition("\nFix: ")
        return " ".join(problem.split()), " ".join(remedy.split())


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what is wrong, and what to do about it."""

    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. Fix: {self.remedy}."


class ProblemsError(ZooError):
    """Several faults of one input, reported together; `faults` holds all of them."""

    heading = "{count} found"

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        lines = [self.heading.format(count=pluralize(len(self.problems), "fault"))]
        lines += [f"- {fault}" for fault in self.problems[:LISTED_FAULTS]]
        if len(self.problems) > LISTED_FAULTS:
            lines.append(f"- and {len(self.problems) - LISTED_FAULTS} more")
        super().__init__("\n".join(lines))
