"""The contracts of scripts: one class for each kind of SageMaker job."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from fusionzoo.contracts import contract_checks
from fusionzoo.contracts.contract_fields import ContractFields
from fusionzoo.errors import Problem

if TYPE_CHECKING:
    from fusionzoo.contracts.validation_report import ValidationReport


class ScriptContract(ContractFields):
    """A contract that a script can be validated against."""

    def validate_implementation(self, script: str | Path) -> ValidationReport:
        """Return the report on a script: which paths of the contract its code uses, and what it must not do.

        The code is read, not run. A script that cannot be read or parsed is an error in the report, not an exception.
        """
        from fusionzoo.contracts.static.script_validation import validate_file  # a job does not need the analysis

        return validate_file(Path(script), self)


class TrainingScriptContract(ScriptContract):
    """The contract of a training job's script."""

    container_type: Literal["SageMaker Training Job"] = "SageMaker Training Job"


class ProcessingScriptContract(ScriptContract):
    """The contract of a processing job's script, which takes command-line arguments."""

    container_type: Literal["SageMaker Processing Job"] = "SageMaker Processing Job"
    arguments: dict[str, str | None] = Field(
        default={}, description="Command-line options without dashes, with their defaults; null for a required one."
    )

    def _find_problems(self) -> Iterator[Problem]:
        yield from super()._find_problems()
        yield from contract_checks.check_arguments(self.arguments)


class InferenceScriptContract(ScriptContract):
    """The contract of the script that an endpoint or a transform job loads, and whose functions it calls."""

    container_type: Literal["SageMaker Hosting Endpoint"] = "SageMaker Hosting Endpoint"
    functions: dict[str, list[str]] = Field(
        default={}, description="The functions that the script must define, with the names of their parameters."
    )

    def _find_problems(self) -> Iterator[Problem]:
        yield from super()._find_problems()
        yield from contract_checks.check_functions(self.functions)
