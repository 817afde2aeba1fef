"""The builder of the step that creates or registers the model."""

from __future__ import annotations

from typing import Any

from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.contracts.steps.step_builder import Inputs, StepBuilderBase
from fusionzoo.contracts.steps.step_catalog import EVALUATION_FILE, PYTORCH_MODEL_SPEC
from fusionzoo.contracts.steps.step_settings import ModelStepSettings

METRICS_TYPE = "application/json"


class PyTorchModelStepBuilder(StepBuilderBase):
    """Builds the step that makes the trained model deployable: a model, or a version in the model registry."""

    specification = PYTORCH_MODEL_SPEC
    settings_class = ModelStepSettings
    settings: ModelStepSettings

    def _build(self, inputs: Inputs, session: Any) -> Any:
        settings = self.settings
        model = import_sdk_module("sagemaker.model").Model(
            image_uri=settings.image_uri,
            model_data=inputs["model"],
            role=settings.role,
            env=dict(settings.environment) or None,
            vpc_config={"Subnets": settings.subnets, "SecurityGroupIds": settings.security_group_ids}
            if settings.subnets
            else None,
            enable_network_isolation=settings.network_isolation,
            sagemaker_session=session,
        )
        if settings.model_package_group:
            step_args = model.register(
                model_package_group_name=settings.model_package_group,
                approval_status=settings.approval_status,
                content_types=settings.content_types,
                response_types=settings.response_types,
                inference_instances=settings.inference_instances,
                transform_instances=settings.inference_instances,
                model_metrics=_refer_to_metrics(inputs.get("evaluation")),
            )
        else:
            step_args = model.create(tags=self._tags)
        return import_sdk_module("sagemaker.workflow.model_step").ModelStep(name=self.name, step_args=step_args)


def _refer_to_metrics(evaluation: Any) -> Any:
    """Return what shows the metrics in the model registry; None without the folder of an evaluation."""
    if evaluation is None:
        return None
    model_metrics = import_sdk_module("sagemaker.model_metrics")
    join = import_sdk_module("sagemaker.workflow.functions").Join
    file = join(on="/", values=[evaluation, EVALUATION_FILE])
    return model_metrics.ModelMetrics(model_statistics=model_metrics.MetricsSource(METRICS_TYPE, file))
