"""The base class of the builders of pipeline steps."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.contracts.steps.step_settings import StepSettings
from fusionzoo.contracts.steps.step_specification import StepSpecification
from fusionzoo.contracts.validation_report import ValidationReport
from fusionzoo.errors import Problem, step_errors

Inputs = Mapping[str, Any]
"""Each input by its logical name: an S3 URI, or a property, parameter or function of the pipeline."""
INPUT_SCHEMES = ("s3://", "https://")


class StepBuilderBase:
    """Builds one step of a pipeline from a specification and settings.

    A subclass gives `specification`, `_build`, and `settings_class` if it has settings of its own. `create_step`
    requires the extra `fusionzoo[sagemaker]`; everything else works without it.

    Args:
        settings: the settings of the step.
        source_dir: the folder of the script; it is uploaded if the image does not contain the script.

    Raises:
        step_errors.StepConfigurationError: the settings are those of another kind of step.
    """

    specification: ClassVar[StepSpecification]
    settings_class: ClassVar[type[StepSettings]] = StepSettings

    def __init__(self, settings: StepSettings | None = None, source_dir: str | Path = ".") -> None:
        self.settings = settings or self.settings_class()
        if not isinstance(self.settings, self.settings_class):
            given, expected = type(self.settings).__name__, self.settings_class.__name__
            problem = step_errors.wrong_settings_class(self.specification.step_name, given, expected)
            raise step_errors.StepConfigurationError([problem])
        self.source_dir = Path(source_dir)
        self.logger = logging.getLogger(f"{__name__}.{type(self).__name__}")

    @property
    def contract(self) -> ScriptContract:
        """The contract of the step's script."""
        return self.specification.contract

    @property
    def name(self) -> str:
        """The name of the step in its pipeline."""
        return self.settings.name or self.specification.step_name

    @property
    def script(self) -> Path:
        """The script that the step runs."""
        return self.source_dir / self.contract.entry_point

    def validate_configuration(self) -> None:
        """Check the settings, and log a warning if the script does not comply with its contract.

        Raises:
            step_errors.StepConfigurationError: the settings are wrong; the error lists all problems.
        """
        if problems := [*self.find_problems()]:
            raise step_errors.StepConfigurationError(problems)
        validation = self.validate_script()
        if not validation.is_valid:
            self.logger.warning(f"Script validation warnings: {validation.errors}")

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems of the specification, the settings and the source folder."""
        alignment = self.specification.validate_contract_alignment()
        if not alignment.is_valid:
            yield step_errors.misaligned_step(self.name, alignment.errors)
        for problem in self._find_setting_problems():
            yield replace(problem, where=f"{self.name}, {problem.where}")
        if not self.script.is_file():
            yield step_errors.missing_step_script(self.name, self.script)

    def _find_setting_problems(self) -> Iterator[Problem]:
        """Yield the problems of the settings, alone and with the contract; without the name of the step."""
        yield from self.settings.find_problems()
        for variable in self.contract.required_env_vars:
            if variable not in self.settings.environment:
                fix = "give its value in the setting environment"
                yield step_errors.missing_step_setting(f"environment[{variable}]", fix)

    def validate_script(self) -> ValidationReport:
        """Validate the script against its contract, without running it."""
        return self.contract.validate_implementation(self.script)

    def check_inputs(self, inputs: Inputs) -> Iterator[Problem]:
        """Yield a problem for each input that is missing, unknown, or neither an S3 URI nor a pipeline's value."""
        dependencies = self.specification.dependencies
        for name, value in inputs.items():
            if name not in dependencies:
                yield step_errors.unknown_step_input(self.name, name, dependencies)
            elif value is None or (isinstance(value, str) and not value.startswith(INPUT_SCHEMES)):
                yield step_errors.invalid_step_input(self.name, name, value)
        for name, dependency in dependencies.items():
            if dependency.is_required and name not in inputs:
                yield step_errors.missing_step_input(self.name, name, dependency.sources, ())

    def create_step(self, inputs: Inputs, session: Any) -> Any:
        """Return the step as an object of the SageMaker Python SDK.

        Args:
            inputs: each input by its logical name.
            session: a PipelineSession, such as that of `create_pipeline_session`.

        Raises:
            step_errors.StepConfigurationError: the settings or inputs are wrong; the error lists all problems.
            step_errors.MissingSageMakerSDKError: the extra `sagemaker` is not installed.
        """
        self.validate_configuration()
        return self.assemble_step(inputs, session)

    def assemble_step(self, inputs: Inputs, session: Any) -> Any:
        """Return the step as `create_step` does, for settings that have been checked."""
        import_sdk_module("sagemaker")
        if problems := [*self.check_inputs(inputs)]:
            raise step_errors.StepConfigurationError(problems)
        try:
            return self._build(inputs, session)
        except (TypeError, ValueError) as cause:
            raise step_errors.StepConfigurationError([step_errors.refused_by_sdk(self.name, cause)]) from cause

    def _build(self, inputs: Inputs, session: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} does not define _build")

    @property
    def _tags(self) -> list[dict[str, str]] | None:
        return [{"Key": key, "Value": value} for key, value in self.settings.tags.items()] or None
