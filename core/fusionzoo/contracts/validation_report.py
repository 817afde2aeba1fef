"""What the validation of a script found: a verdict and the evidence for each path of its contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum


class Verdict(Enum):
    """Whether a script uses a path of its contract."""

    PROVEN = "proven"
    POSSIBLE = "possible"
    MISSING = "missing"


class Access(Enum):
    """What a script does at a path."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True)
class Evidence:
    """A place in the code that uses a path of the contract."""

    path: str  # of the contract
    file: str
    line: int
    expression: str
    access: Access


@dataclass(frozen=True)
class ValidationReport:
    """The result of one validation.

    Attributes:
        script: the name of the script.
        contract: the class of the contract, such as "TrainingScriptContract".
        errors: why the script does not comply.
        warnings: what could not be decided, or is not required.
        evidence: the uses of each path of the contract.
        verdicts: the verdict on each path of the contract.
        notes: what the validator could not follow.
    """

    script: str
    contract: str
    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    evidence: dict[str, list[Evidence]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def is_valid(self) -> bool:
        """Whether the script complies with the contract."""
        return not self.errors

    @property
    def summary(self) -> str:
        """The verdict on one line, such as "train.py vs TrainingScriptContract: COMPLIANT"."""
        return f"{self.script} vs {self.contract}: {'COMPLIANT' if self.is_valid else 'NON-COMPLIANT'}"
