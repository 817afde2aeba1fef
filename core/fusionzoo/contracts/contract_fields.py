"""The fields of a script contract, which refuses itself if it is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from fusionzoo.contracts import contract_checks
from fusionzoo.contracts.job_kinds import JOB_KINDS, SAGEMAKER_ROOT, JobKind
from fusionzoo.errors import Problem, contract_errors


class ContractFields(BaseModel):
    """What a script promises to the container that runs it.

    Raises:
        contract_errors.ContractError: the contract contradicts itself or SageMaker; the error lists all problems.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    entry_point: str = Field(description="The script, relative to the source folder.")
    expected_input_paths: dict[str, str] = Field(description="Each input's absolute path by its logical name.")
    expected_output_paths: dict[str, str] = Field(description="Each output's absolute path by its logical name.")
    required_env_vars: list[str] = Field(default=[], description="Environment variables that a job must set.")
    optional_env_vars: dict[str, str] = Field(
        default={}, description="Environment variables with their defaults; empty for a variable without one."
    )
    framework_requirements: dict[str, str] = Field(default={}, description='Packages with versions, such as "==2.1.2".')
    version_constraints: dict[str, str] = Field(
        default={},
        description="Versions of further packages, without which the required ones fail, although pip allows others.",
    )
    container_type: str = Field(description="The kind of SageMaker job that runs the script.")
    framework: str = Field(description="The framework that the script uses.")
    model_types: list[str] = Field(default=[], description="The kinds of models that the script handles.")
    description: str = Field(default="", description="What the script does.")
    optional_paths: frozenset[str] = Field(
        default=frozenset(), description="Logical names of the paths that a script may leave unused."
    )
    optional_channels: frozenset[str] = Field(
        default=frozenset(), description="Logical names of the inputs that a job may lack; the script still reads them."
    )
    artifacts: dict[str, list[str]] = Field(
        default={},
        description="Files that every job leaves, by the logical name of their output; a folder ends in a slash.",
    )
    meanings: dict[str, str] = Field(
        default={}, description="What each path and environment variable is for, by logical name or variable."
    )

    @field_serializer("optional_paths", "optional_channels")
    def _sort(self, names: frozenset[str]) -> list[str]:
        return sorted(names)

    @model_validator(mode="after")
    def _refuse_problems(self) -> ContractFields:
        if self.container_type not in JOB_KINDS:
            raise contract_errors.ContractError([contract_errors.unknown_job_kind(self.container_type, JOB_KINDS)])
        if problems := list(self._find_problems()):
            raise contract_errors.ContractError(problems)
        return self

    def _find_problems(self) -> Iterator[Problem]:
        inputs, outputs = self.expected_input_paths, self.expected_output_paths
        yield from contract_checks.check_entry_point(self.entry_point)
        yield from contract_checks.check_paths(inputs, outputs, self.job_kind)
        yield from contract_checks.check_channels(inputs, self.optional_inputs, self.job_kind)
        yield from contract_checks.check_environment(self.required_env_vars, self.optional_env_vars)
        yield from contract_checks.check_requirements(self.framework_requirements, self.version_constraints)
        yield from contract_checks.check_artifacts(self.artifacts)
        names = [*inputs, *outputs]
        variables = [*self.required_env_vars, *self.optional_env_vars]
        yield from contract_checks.check_references("optional_paths", self.optional_paths, names)
        yield from contract_checks.check_references("optional_channels", self.optional_channels, inputs)
        yield from contract_checks.check_references("artifacts", self.artifacts, outputs)
        yield from contract_checks.check_references("meanings", self.meanings, [*names, *variables])

    @property
    def job_kind(self) -> JobKind:
        """What SageMaker mounts for the script."""
        return JOB_KINDS[self.container_type]

    @property
    def optional_inputs(self) -> frozenset[str]:
        """The logical names of the inputs without which a job still succeeds."""
        return (self.optional_channels | self.optional_paths) & self.expected_input_paths.keys()

    def relative_path(self, logical_name: str) -> str:
        """Return the path of an input or output relative to SageMaker's root folder, such as "input/data/train".

        Raises:
            KeyError: the contract has no such path.
        """
        path = {**self.expected_input_paths, **self.expected_output_paths}[logical_name]
        return str(PurePosixPath(path).relative_to(SAGEMAKER_ROOT))
