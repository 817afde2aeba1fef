"""What the verification of a script found: checks with their results, and the runs that they come from."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from fusionzoo.contracts.validation_report import Verdict


class CheckStatus(Enum):
    """The result of one check."""

    PROVEN = "proven"
    FAILED = "failed"
    NOT_VERIFIED = "not verified"


@dataclass(frozen=True)
class EvidenceCheck:
    """One claim of the contract, and what the runs show about it.

    Attributes:
        claim: what the contract says, such as "is read".
        subject: what it says it about: a logical name, an artifact or a run.
        status: the result.
        detail: what was seen, or why nothing could be verified.
    """

    subject: str
    claim: str
    status: CheckStatus
    detail: str


@dataclass(frozen=True)
class RunRecord:
    """A run of the script: what was changed for it, and how it ended."""

    name: str
    ending: str
    seconds: float
    failure: str | None
    output_end: str


@dataclass(frozen=True)
class VerificationReport:
    """The result of one verification.

    Attributes:
        script: the name of the script.
        contract: the class of the contract, such as "TrainingScriptContract".
        settings: how the script was run.
        checks: every claim that was verified, or could not be.
        runs: every run of the script.
        verdicts: the verdict on each path of the contract.
        variables: where each environment variable was read, as "file:line".
        limits: what the verification does not see.
    """

    script: str
    contract: str
    settings: dict[str, str]
    checks: Sequence[EvidenceCheck]
    runs: Sequence[RunRecord]
    verdicts: dict[str, Verdict]
    variables: dict[str, list[str]]
    limits: Sequence[str] = field(default=())

    @property
    def is_valid(self) -> bool:
        """Whether no check failed."""
        return all(check.status is not CheckStatus.FAILED for check in self.checks)

    @property
    def errors(self) -> list[str]:
        """Why the script does not comply."""
        return [_describe(check) for check in self.checks if check.status is CheckStatus.FAILED]

    @property
    def warnings(self) -> list[str]:
        """What could not be verified."""
        return [_describe(check) for check in self.checks if check.status is CheckStatus.NOT_VERIFIED]

    @property
    def summary(self) -> str:
        """The verdict on one line, such as "train.py vs TrainingScriptContract: COMPLIANT"."""
        return f"{self.script} vs {self.contract}: {'COMPLIANT' if self.is_valid else 'NON-COMPLIANT'}"

    def to_json(self) -> str:
        """Return the whole report as a JSON document in ASCII."""
        document = {
            "summary": self.summary,
            "is_valid": self.is_valid,
            "errors": self.errors,
            "warnings": self.warnings,
            **asdict(self),
        }
        return json.dumps(document, indent=2, default=_encode) + "\n"


def _describe(check: EvidenceCheck) -> str:
    return f"{check.subject}: {check.claim}: {check.detail}"


def _encode(value: Any) -> str:
    assert isinstance(value, Enum)
    return str(value.value)
