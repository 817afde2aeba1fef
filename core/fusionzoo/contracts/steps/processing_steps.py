"""The builders of the steps that preprocess data and evaluate a model."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from fusionzoo.contracts.job_kinds import is_inside
from fusionzoo.contracts.script_contract import ProcessingScriptContract
from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.contracts.steps.step_builder import Inputs, StepBuilderBase
from fusionzoo.contracts.steps.step_catalog import EVALUATION_FILE, MODEL_EVALUATION_SPEC, TABULAR_PREPROCESS_SPEC
from fusionzoo.contracts.steps.step_settings import ProcessingStepSettings
from fusionzoo.contracts.steps.step_specification import PROCESSING_FOLDER
from fusionzoo.errors import Problem, step_errors

CODE_FOLDER = f"{PROCESSING_FOLDER}/code"
"""Where the script is mounted. ScriptProcessor of the SDK would put it into /opt/ml/processing/input, among data."""
CODE_INPUT = "code"


class ProcessingStepBuilder(StepBuilderBase):
    """Builds the step that runs a script in a processing job. The script is uploaded; the image has its packages."""

    settings_class = ProcessingStepSettings
    settings: ProcessingStepSettings
    property_files: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """A file that condition steps can read, for each output that has one; its name is that of the output."""

    def _find_setting_problems(self) -> Iterator[Problem]:
        yield from super()._find_setting_problems()
        options = self.contract.arguments if isinstance(self.contract, ProcessingScriptContract) else {}
        for name in self.settings.arguments:
            if name not in options:
                yield step_errors.unknown_argument(name, options)
        for name, default in options.items():
            if default is None and name not in self.settings.arguments:
                yield step_errors.missing_step_setting(f"arguments[{name}]", "give the value of the option")

    def _build(self, inputs: Inputs, session: Any) -> Any:
        steps = import_sdk_module("sagemaker.workflow.steps")
        processing = import_sdk_module("sagemaker.processing")
        arguments = [text for name, value in self.settings.arguments.items() for text in (f"--{name}", value)]
        mounts = {name: (uri, self.specification.dependencies[name].folder) for name, uri in inputs.items()}
        mounts[CODE_INPUT] = (self._upload_script(session), CODE_FOLDER)
        step_args = self._create_processor(processing, session).run(
            inputs=[
                processing.ProcessingInput(source=uri, destination=folder, input_name=name)
                for name, (uri, folder) in mounts.items()
            ],
            outputs=[
                processing.ProcessingOutput(output_name=name, source=output.path)
                for name, output in self.specification.outputs.items()
                if output.path is not None and is_inside(output.path, PROCESSING_FOLDER)
            ],
            arguments=arguments or None,
        )
        property_file = import_sdk_module("sagemaker.workflow.properties").PropertyFile
        property_files = [property_file(name, name, path) for name, path in self.property_files.items()]
        return steps.ProcessingStep(name=self.name, step_args=step_args, property_files=property_files)

    def _upload_script(self, session: Any) -> str:
        """Upload the script to a folder named after its content, and return the S3 URI of the script."""
        s3 = import_sdk_module("sagemaker.s3")
        digest = hashlib.sha256(self.script.read_bytes()).hexdigest()
        bucket, prefix = s3.determine_bucket_and_prefix(
            bucket=None, key_prefix=f"fusionzoo/code/{digest}", sagemaker_session=session
        )
        folder = s3.s3_path_join("s3://", bucket, prefix)
        key = self.settings.output_kms_key or None
        return str(s3.S3Uploader.upload(str(self.script), folder, kms_key=key, sagemaker_session=session))

    def _create_processor(self, processing: Any, session: Any) -> Any:
        settings = self.settings
        network = import_sdk_module("sagemaker.network").NetworkConfig(
            enable_network_isolation=settings.network_isolation,
            security_group_ids=settings.security_group_ids or None,
            subnets=settings.subnets or None,
            encrypt_inter_container_traffic=settings.encrypt_traffic,
        )
        return processing.Processor(
            role=settings.role,
            image_uri=settings.image_uri,
            entrypoint=["python", f"{CODE_FOLDER}/{self.script.name}"],
            instance_count=settings.instance_count,
            instance_type=settings.instance_type,
            volume_size_in_gb=settings.volume_size,
            volume_kms_key=settings.volume_kms_key or None,
            output_kms_key=settings.output_kms_key or None,
            max_runtime_in_seconds=settings.max_run,
            sagemaker_session=session,
            env=dict(settings.environment) or None,
            tags=self._tags,
            network_config=network,
        )


class TabularPreprocessStepBuilder(ProcessingStepBuilder):
    """Builds the step that splits raw data into the channels of the training step."""

    specification = TABULAR_PREPROCESS_SPEC


class ModelEvaluationStepBuilder(ProcessingStepBuilder):
    """Builds the step that evaluates the trained model on the test data."""

    specification = MODEL_EVALUATION_SPEC
    property_files = MappingProxyType({"evaluation": EVALUATION_FILE})
