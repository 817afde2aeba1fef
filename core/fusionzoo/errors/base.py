"""What every failure is: an error for the user, or one of several faults of an input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fusionzoo.errors.wording import counted

LISTED_FAULTS = 20


class ZooError(Exception):
    """Base of every error that a user can mend; `train.py` reports it without a stack trace."""

    @property
    def parts(self) -> tuple[str, str]:
        """What happened, and what to do about it, each on one line."""
        problem, _, remedy = str(self).partition("\nFix: ")
        return " ".join(problem.split()), " ".join(remedy.split())


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong: where it stands, what is wrong, and what to do about it."""

    where: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}. Fix: {self.remedy}."


class FaultsError(ZooError):
    """Several faults of one input, reported together; `faults` holds all of them."""

    heading = "{count} found"

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [self.heading.format(count=counted(len(self.faults), "fault"))]
        lines += [f"- {fault}" for fault in self.faults[:LISTED_FAULTS]]
        if len(self.faults) > LISTED_FAULTS:
            lines.append(f"- and {len(self.faults) - LISTED_FAULTS} more")
        super().__init__("\n".join(lines))
