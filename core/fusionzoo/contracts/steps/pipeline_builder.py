"""Assembles the steps of a pipeline, after the contracts of their scripts have been validated."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.contracts.steps.service_limits import ServiceLimits
from fusionzoo.contracts.steps.step_builder import Inputs, StepBuilderBase
from fusionzoo.contracts.validation_report import ValidationReport
from fusionzoo.errors import Problem, step_errors

INPUT_OF_STEP = object()
"""Stands for an input that an earlier step provides, before that step is built."""
PROPERTY_PART = re.compile(r"\.(?P<attribute>\w+)|\['(?P<key>[^'\]]+)'\]|\[(?P<index>\d+)\]")


@dataclass
class PipelineBuilder:
    """Assembles a SageMaker pipeline from step builders.

    A step takes each input from `inputs`, or else from the step before it that its specification names.

    Attributes:
        name: the name of the pipeline.
        role: the ARN of the role that runs the pipeline.
        parameters: parameters of the SDK, such as ParameterString, that inputs and hyperparameters refer to.
        tags: tags of the pipeline.
        description: what the pipeline does.
    """

    name: str
    role: str
    parameters: Sequence[Any] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    description: str = ""
    _steps: list[tuple[StepBuilderBase, dict[str, Any]]] = field(default_factory=list, init=False)

    def add_step(self, builder: StepBuilderBase, inputs: Inputs | None = None) -> PipelineBuilder:
        """Add a step after the others, and return the pipeline builder.

        Args:
            builder: the builder of the step.
            inputs: S3 URIs or values of the pipeline, by logical name, of inputs that no earlier step provides.
        """
        self._steps.append((builder, dict(inputs or {})))
        return self

    def validate_script_contracts(self) -> dict[str, ValidationReport]:
        """Validate the script of each step against its contract, and return the reports by the names of the steps.

        Raises:
            step_errors.StepConfigurationError: a script is missing or does not comply; the error lists all of them.
        """
        reports: dict[str, ValidationReport] = {}
        problems: list[Problem] = []
        for builder, _ in self._steps:
            if not builder.script.is_file():
                problems.append(step_errors.missing_step_script(builder.name, builder.script))
                continue
            report = reports[builder.name] = builder.validate_script()
            if not report.is_valid:
                problems.append(step_errors.script_does_not_comply(builder.name, report.summary, report.errors))
        if problems:
            raise step_errors.StepConfigurationError(problems)
        return reports

    def build(self, session: Any) -> Any:
        """Return the pipeline as an object of the SageMaker Python SDK, checked against the limits of SageMaker.

        The SDK uploads source code to S3, but nothing is created in SageMaker.

        Args:
            session: a PipelineSession, such as that of `create_pipeline_session`.

        Raises:
            step_errors.StepConfigurationError: the settings, inputs, scripts or requests are wrong.
            step_errors.MissingSageMakerSDKError: the extra `sagemaker` is not installed.
        """
        return self._build_checked(session)[0]

    def upsert(self, session: Any) -> str:
        """Create the pipeline in SageMaker or update it, and return its ARN.

        Raises:
            step_errors.StepConfigurationError: see `build`.
            step_errors.MissingSageMakerSDKError: the extra `sagemaker` is not installed.
        """
        _, definition = self._build_checked(session)
        client, request = session.sagemaker_client, self._describe_request()
        tags = request.pop("Tags", [])
        try:
            response = client.create_pipeline(**request, PipelineDefinition=definition, Tags=tags)
        except client.exceptions.ClientError as cause:
            if "already exists" not in str(cause):
                raise
            response = client.update_pipeline(**request, PipelineDefinition=definition)
            if tags:
                client.add_tags(ResourceArn=response["PipelineArn"], Tags=tags)
        return str(response["PipelineArn"])

    def _build_checked(self, session: Any) -> tuple[Any, str]:
        """Return the pipeline and its definition."""
        limits = ServiceLimits()
        self.validate_script_contracts()
        if problems := [*self.find_problems()]:
            raise step_errors.StepConfigurationError(problems)
        steps: dict[str, Any] = {}
        for builder, inputs in self._steps:
            connections = self._connect(builder).items()
            properties = {name: _read_property(steps[step], path) for name, (step, path) in connections}
            steps[builder.name] = builder.assemble_step({**properties, **inputs}, session)
        pipeline = import_sdk_module("sagemaker.workflow.pipeline").Pipeline(
            name=self.name, parameters=list(self.parameters), steps=list(steps.values()), sagemaker_session=session
        )
        definition = str(pipeline.definition())
        if problems := [*limits.check_pipeline(self._describe_request(), definition)]:
            raise step_errors.StepConfigurationError(problems)
        return pipeline, definition

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems of the steps' names, settings and inputs that need no SDK to be found."""
        names = [builder.name for builder, _ in self._steps]
        for name in dict.fromkeys(names):
            if names.count(name) > 1:
                yield step_errors.duplicate_step(name)
        for builder, inputs in self._steps:
            yield from builder.find_problems()
            candidates = self._find_candidates(builder)
            for name, steps in candidates.items():
                if len(steps) > 1 and name not in inputs:
                    sources = builder.specification.dependencies[name].sources
                    yield step_errors.missing_step_input(builder.name, name, sources, [step for step, _ in steps])
            yield from builder.check_inputs({**dict.fromkeys(candidates, INPUT_OF_STEP), **inputs})

    def _find_candidates(self, builder: StepBuilderBase) -> dict[str, list[tuple[str, str]]]:
        """Return the earlier steps that provide each input, with the property that holds it."""
        earlier: list[StepBuilderBase] = []
        for other, _ in self._steps:
            if other is builder:
                break
            earlier.append(other)
        candidates: dict[str, list[tuple[str, str]]] = {}
        for name, dependency in builder.specification.dependencies.items():
            for other in earlier:
                if path := dependency.sources.get(other.specification.step_name):
                    candidates.setdefault(name, []).append((other.name, path))
        return candidates

    def _connect(self, builder: StepBuilderBase) -> dict[str, tuple[str, str]]:
        """Return the step and property that each input comes from."""
        return {name: steps[0] for name, steps in self._find_candidates(builder).items()}

    def _describe_request(self) -> dict[str, Any]:
        """Return the members of the CreatePipeline request but for the definition."""
        request: dict[str, Any] = {"PipelineName": self.name, "RoleArn": self.role}
        if self.description:
            request["PipelineDescription"] = self.description
        if self.tags:
            request["Tags"] = [{"Key": key, "Value": value} for key, value in self.tags.items()]
        return request


def _read_property(step: Any, path: str) -> Any:
    """Return the property of a step of the SDK at a path such as "properties.ModelArtifacts.S3ModelArtifacts"."""
    value = step
    for part in PROPERTY_PART.finditer(f".{path}"):
        if attribute := part["attribute"]:
            value = getattr(value, attribute)
        else:
            value = value[part["key"] if part["key"] is not None else int(part["index"])]
    return value
