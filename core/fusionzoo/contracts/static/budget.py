"""The bounds of an analysis, and what it could not follow."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_STEPS = 1_000_000
MAX_CALL_DEPTH = 48
MAX_RECURSION = 2  # active calls of one function
MAX_KNOWN_RECURSION = 24  # the same if all arguments are known
MAX_CONTEXTS = 250  # of one function: calls with other arguments
MAX_SIMILAR = 1  # of them with the same texts and classes, if they change nothing
MAX_SIMILAR_OBJECTS = 4  # the same for calls that create an object
MAX_ITERATIONS = 128  # of a loop over known items
MAX_UNROLLED = 256  # the same of all loops around a statement together
MAX_ITEMS = 4096  # of one container
MAX_NOTES = 50


class OutOfStepsError(Exception):
    """The analysis has used its steps."""


@dataclass
class Budget:
    """Counts the steps of an analysis; one is the evaluation of an expression or a statement."""

    max_steps: int = MAX_STEPS
    steps: int = 0
    notes: dict[str, None] = field(default_factory=dict)

    def spend(self) -> None:
        """Count a step.

        Raises:
            OutOfStepsError: there are no steps left.
        """
        self.steps += 1
        if self.steps > self.max_steps:
            raise OutOfStepsError

    def note(self, message: str) -> None:
        """Record something that the analysis could not follow."""
        if len(self.notes) < MAX_NOTES:
            self.notes[message] = None
