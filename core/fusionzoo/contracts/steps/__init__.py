"""Steps of a SageMaker pipeline, derived from the script contracts. docs/pipelines.md shows how to use them.

Building steps requires the extra `fusionzoo[sagemaker]`; the specifications and all checks of settings do not.
"""

from fusionzoo.contracts.steps.metric_definitions import LOGGED_METRICS, define_metrics
from fusionzoo.contracts.steps.model_step import PyTorchModelStepBuilder
from fusionzoo.contracts.steps.pipeline_builder import PipelineBuilder
from fusionzoo.contracts.steps.processing_steps import (
    ModelEvaluationStepBuilder,
    ProcessingStepBuilder,
    TabularPreprocessStepBuilder,
)
from fusionzoo.contracts.steps.sagemaker_sdk import create_pipeline_session
from fusionzoo.contracts.steps.step_builder import StepBuilderBase
from fusionzoo.contracts.steps.step_catalog import (
    MODEL_EVALUATION_SPEC,
    PYTORCH_MODEL_SPEC,
    PYTORCH_TRAINING_SPEC,
    STEP_SPECIFICATIONS,
    TABULAR_PREPROCESS_SPEC,
)
from fusionzoo.contracts.steps.step_settings import (
    ModelStepSettings,
    ProcessingStepSettings,
    StepSettings,
    TrainingStepSettings,
)
from fusionzoo.contracts.steps.step_specification import StepDependency, StepOutput, StepSpecification
from fusionzoo.contracts.steps.training_step import PyTorchTrainingStepBuilder

__all__ = [
    "LOGGED_METRICS",
    "MODEL_EVALUATION_SPEC",
    "PYTORCH_MODEL_SPEC",
    "PYTORCH_TRAINING_SPEC",
    "STEP_SPECIFICATIONS",
    "TABULAR_PREPROCESS_SPEC",
    "ModelEvaluationStepBuilder",
    "ModelStepSettings",
    "PipelineBuilder",
    "ProcessingStepBuilder",
    "ProcessingStepSettings",
    "PyTorchModelStepBuilder",
    "PyTorchTrainingStepBuilder",
    "StepBuilderBase",
    "StepDependency",
    "StepOutput",
    "StepSettings",
    "StepSpecification",
    "TabularPreprocessStepBuilder",
    "TrainingStepSettings",
    "create_pipeline_session",
    "define_metrics",
]
