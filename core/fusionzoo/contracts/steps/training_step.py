"""The builder of the training step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fusionzoo.contracts.job_kinds import channel_of
from fusionzoo.contracts.steps.hyperparameter_encoding import encode_hyperparameters
from fusionzoo.contracts.steps.metric_definitions import DEFAULT_TASK, define_metrics
from fusionzoo.contracts.steps.sagemaker_sdk import block_usage_data, import_sdk_module
from fusionzoo.contracts.steps.step_builder import Inputs, StepBuilderBase
from fusionzoo.contracts.steps.step_catalog import PYTORCH_TRAINING_SPEC
from fusionzoo.contracts.steps.step_settings import TrainingStepSettings
from fusionzoo.errors import Problem, step_errors

CONFIG_CHANNEL_TYPE = "application/json"
UNSUITABLE_SOURCES = {
    ".git": ("the folder is a repository, and the SDK would upload its history", "use a folder of the script alone"),
    ".venv": (
        "the folder holds a virtual environment, and the SDK would upload it",
        "use a folder of the script alone",
    ),
}


class PyTorchTrainingStepBuilder(StepBuilderBase):
    """Builds the step that trains with train.py: a `TrainingStep` of the SageMaker Python SDK."""

    specification = PYTORCH_TRAINING_SPEC
    settings_class = TrainingStepSettings
    settings: TrainingStepSettings

    def find_problems(self) -> Iterator[Problem]:
        """Yield the problems of the specification, the settings and the source folder."""
        yield from super().find_problems()
        if not self.settings.framework_version:  # the image contains the script
            return
        reasons = dict(UNSUITABLE_SOURCES)
        if self.settings.distribution:
            reasons["setup.py"] = ("torchrun fails if the folder of the script has a setup.py", "remove it")
        if self.settings.network_isolation:
            reasons["requirements.txt"] = ("packages cannot be installed without a network", "use an image with them")
        for name, (message, fix) in reasons.items():
            if (self.source_dir / name).exists():
                yield step_errors.unsuitable_source_folder(self.name, self.source_dir / name, message, fix)

    def _build(self, inputs: Inputs, session: Any) -> Any:
        steps = import_sdk_module("sagemaker.workflow.steps")
        channels = self._create_channels(inputs)
        estimator = self._create_estimator(session)
        with block_usage_data(session):
            step_args = estimator.fit(channels)  # starts no job: the session collects the arguments
        return steps.TrainingStep(name=self.name, step_args=step_args)

    def _create_channels(self, inputs: Inputs) -> dict[str, Any]:
        training_input = import_sdk_module("sagemaker.inputs").TrainingInput
        channels = {}
        for name, uri in inputs.items():
            path = self.specification.dependencies[name].path or ""
            is_file = path.endswith(".json")
            channel = channel_of(path) or name
            channels[channel] = training_input(
                uri,
                content_type=CONFIG_CHANNEL_TYPE if is_file else self.settings.content_type,
                input_mode="File" if is_file else self.settings.input_mode,
                distribution="FullyReplicated",
            )
        return channels

    def _create_estimator(self, session: Any) -> Any:
        settings, arguments = self.settings, self._collect_arguments(session)
        if settings.image_uri:
            estimator = import_sdk_module("sagemaker.estimator").Estimator
            encoded = encode_hyperparameters(settings.hyperparameters)
            return estimator(image_uri=settings.image_uri, hyperparameters=encoded, **arguments)
        estimator = import_sdk_module("sagemaker.pytorch").PyTorch
        return estimator(
            entry_point=self.contract.entry_point,
            source_dir=str(self.source_dir),
            framework_version=settings.framework_version,
            py_version=settings.py_version,
            hyperparameters=dict(settings.hyperparameters),
            distribution={settings.distribution: {"enabled": True}} if settings.distribution else None,
            **arguments,
        )

    def _collect_arguments(self, session: Any) -> dict[str, Any]:
        """Return the arguments that both kinds of estimators take."""
        settings = self.settings
        longest_wait = settings.max_wait or settings.max_run
        return {
            "sagemaker_session": session,
            "role": settings.role,
            "instance_type": settings.instance_type,
            "instance_count": settings.instance_count,
            "volume_size": settings.volume_size,
            "volume_kms_key": settings.volume_kms_key or None,
            "output_kms_key": settings.output_kms_key or None,
            "output_path": settings.output_path or None,
            "max_run": settings.max_run,
            "use_spot_instances": settings.use_spot_instances,
            "max_wait": longest_wait if settings.use_spot_instances else None,
            "keep_alive_period_in_seconds": settings.keep_alive_period or None,
            "checkpoint_s3_uri": settings.checkpoint_s3_uri or self._locate_checkpoints(session),
            "checkpoint_local_path": self.contract.expected_output_paths["checkpoints"],
            "metric_definitions": define_metrics(
                settings.metric_definitions, settings.hyperparameters.get("task", DEFAULT_TASK)
            ),
            "tags": self._tags,
            "environment": dict(settings.environment) or None,
            "subnets": settings.subnets or None,
            "security_group_ids": settings.security_group_ids or None,
            "encrypt_inter_container_traffic": settings.encrypt_traffic,
            "enable_network_isolation": settings.network_isolation,
            "disable_profiler": True,
            "debugger_hook_config": False,
        }

    def _locate_checkpoints(self, session: Any) -> Any:
        """Return a folder of the pipeline's execution, so that a retry resumes and another execution does not."""
        functions = import_sdk_module("sagemaker.workflow.functions")
        variables = import_sdk_module("sagemaker.workflow.execution_variables").ExecutionVariables
        bucket = f"s3://{session.default_bucket()}"
        if prefix := session.default_bucket_prefix:
            bucket = f"{bucket}/{prefix}"
        parts = [bucket, variables.PIPELINE_NAME, variables.PIPELINE_EXECUTION_ID, self.name, "checkpoints"]
        return functions.Join(on="/", values=parts)
