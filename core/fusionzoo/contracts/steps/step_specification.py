"""What a step of a pipeline needs and provides, derived from the contract of its script."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from fusionzoo.contracts.job_kinds import CHANNELS_FOLDER, channel_of, is_inside
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.contracts.validation_report import ValidationReport

if TYPE_CHECKING:
    from typing_extensions import Self

StepType = Literal["Training", "Processing", "Model"]

CONTAINER_TYPES: Mapping[StepType, str] = MappingProxyType(
    {
        "Training": "SageMaker Training Job",
        "Processing": "SageMaker Processing Job",
        "Model": "SageMaker Hosting Endpoint",
    }
)
"""The kind of job that each type of step starts or prepares."""
PROCESSING_FOLDER = "/opt/ml/processing"
PROPERTY_PATHS: Mapping[StepType, Mapping[str, str]] = MappingProxyType(
    {
        "Training": {
            "/opt/ml/model": "properties.ModelArtifacts.S3ModelArtifacts",
            "/opt/ml/output/data": "properties.OutputDataConfig.S3OutputPath",
            "/opt/ml/checkpoints": "properties.CheckpointConfig.S3Uri",
            "/opt/ml/output/failure": "properties.FailureReason",
        },
        "Processing": {"/opt/ml/output/message": "properties.ExitMessage"},
        "Model": {},
    }
)
"""The property of a step that says where SageMaker puts what a script writes at a path."""
PROPERTY_PATH = re.compile(r"properties(\.[A-Za-z]\w*|\['[^'\]]+'\]|\[\d+\])+")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class StepDependency(_Frozen):
    """An input of a step's script that the pipeline provides."""

    logical_name: str = Field(description="The name of the input in the contract.")
    path: str | None = Field(
        default=None, description="Where the script finds the input; null for an input of SageMaker itself."
    )
    is_required: bool = Field(default=True, description="Whether the step fails without the input.")
    sources: dict[str, str] = Field(
        default={}, description="The kinds of steps that provide the input, each with the path of the property."
    )

    @property
    def folder(self) -> str:
        """The folder that SageMaker mounts for the input: of a file such as model.tar.gz, the folder that holds it.

        "" for an input that the script does not read.
        """
        if self.path is None:
            return ""
        channel = channel_of(self.path)
        if channel:
            return f"{CHANNELS_FOLDER}/{channel}"
        path = PurePosixPath(self.path)
        return str(path.parent if path.suffix else path)


class StepOutput(_Frozen):
    """What a step provides to the steps after it."""

    logical_name: str = Field(description="The name of the output in the contract.")
    path: str | None = Field(
        default=None, description="Where the script writes it; null for a value of SageMaker itself."
    )
    property_path: str = Field(description="The property of the step that holds its S3 URI or value.")


class StepSpecification(_Frozen):
    """What a step of a pipeline needs and provides. `for_contract` derives it from a contract."""

    step_name: str = Field(description="The name of the step in a pipeline, and the kind that other steps name.")
    step_type: StepType
    contract: ScriptContract = Field(description="The contract of the script that the step runs.")
    dependencies: dict[str, StepDependency] = Field(description="Each input by its logical name.")
    outputs: dict[str, StepOutput] = Field(description="Each output by its logical name.")

    @classmethod
    def for_contract(
        cls,
        step_name: str,
        step_type: StepType,
        contract: ScriptContract,
        sources: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        service_inputs: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        service_outputs: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """Return the specification that follows from a contract.

        Args:
            step_name: the name of the step.
            step_type: what SageMaker creates.
            contract: the contract of the step's script.
            sources: the kinds of steps that provide an input, each with a property path, by logical name.
            service_inputs: the kinds of steps that provide what SageMaker takes without the script, each with a
                property path, by logical name. These inputs are optional.
            service_outputs: properties that SageMaker provides without the script, by logical name.
        """
        inputs = {name: path for name, path in contract.expected_input_paths.items() if _is_provided(path, step_type)}
        dependencies = {
            name: StepDependency(
                logical_name=name,
                path=path,
                is_required=name not in contract.optional_inputs,
                sources=dict(sources.get(name, {})),
            )
            for name, path in inputs.items()
        }
        dependencies |= {
            name: StepDependency(logical_name=name, is_required=False, sources=dict(found))
            for name, found in service_inputs.items()
        }
        outputs = {
            name: StepOutput(logical_name=name, path=path, property_path=find_property_path(step_type, name, path))
            for name, path in contract.expected_output_paths.items()
        }
        outputs |= {name: StepOutput(logical_name=name, property_path=path) for name, path in service_outputs.items()}
        return cls(
            step_name=step_name, step_type=step_type, contract=contract, dependencies=dependencies, outputs=outputs
        )

    def validate_contract_alignment(self) -> ValidationReport:
        """Compare the specification with its contract. The report's errors name each difference."""
        errors = [*self._compare_job(), *self._compare_inputs(), *self._compare_outputs()]
        return ValidationReport(script=self.step_name, contract=type(self.contract).__name__, errors=errors)

    def _compare_job(self) -> Iterator[str]:
        if CONTAINER_TYPES[self.step_type] != self.contract.container_type:
            yield f"a {self.step_type} step cannot run the script of a {self.contract.container_type}"

    def _compare_inputs(self) -> Iterator[str]:
        expected = self.contract.expected_input_paths
        for key, dependency in self.dependencies.items():
            name = dependency.logical_name
            if key != name:
                yield f"the dependency {key} has the logical name {name}"
            elif dependency.path is None:
                if name in expected:
                    yield f"{name} has no path, and the script reads {expected[name]}"
                elif dependency.is_required:
                    yield f"{name} is required, and the script does not read it"
            elif name not in expected:
                yield f"the contract has no input {name}"
            elif dependency.path != expected[name]:
                yield f"{name} is mounted at {dependency.path}, and the script reads {expected[name]}"
            elif dependency.is_required != (name not in self.contract.optional_inputs):
                yield f"{name} is {'optional' if dependency.is_required else 'required'} in the contract"
            for source, path in dependency.sources.items():
                if not PROPERTY_PATH.fullmatch(path):
                    yield f"{path} of {source}, the source of {name}, is not a property path"
        for name, path in expected.items():
            if _is_provided(path, self.step_type) and name not in self.dependencies:
                yield f"the contract's input {name} is not a dependency"

    def _compare_outputs(self) -> Iterator[str]:
        expected = self.contract.expected_output_paths
        for key, output in self.outputs.items():
            name = output.logical_name
            if key != name:
                yield f"the output {key} has the logical name {name}"
            elif output.path is None:
                if not PROPERTY_PATH.fullmatch(output.property_path):
                    yield f"{output.property_path} of the output {name} is not a property path"
            elif output.path != expected.get(name):
                yield f"the contract has no output {name} at {output.path}"
            elif not find_property_path(self.step_type, name, output.path):
                yield f"no property of a {self.step_type} step holds the output {name}, which is at {output.path}"
            elif output.property_path != find_property_path(self.step_type, name, output.path):
                yield f"{output.property_path} does not hold the output {name}, which is at {output.path}"
        for name in expected.keys() - self.outputs.keys():
            yield f"the contract's output {name} is not an output of the step"


def find_property_path(step_type: StepType, name: str, path: str) -> str:
    """Return the property of a step that holds what its script writes at a path; "" if no property does."""
    if step_type == "Processing" and is_inside(path, PROCESSING_FOLDER):
        return f"properties.ProcessingOutputConfig.Outputs['{name}'].S3Output.S3Uri"
    return PROPERTY_PATHS[step_type].get(path, "")


def _is_provided(path: str, step_type: StepType) -> bool:
    """Return whether an input comes from the pipeline, not from SageMaker itself, such as hyperparameters.json."""
    if step_type == "Training":
        return bool(channel_of(path))
    return step_type == "Model" or is_inside(path, PROCESSING_FOLDER)
