"""The specifications of fusionzoo's own steps: preprocess, train, evaluate, create the model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fusionzoo.contracts.pipeline_contracts import (
    MODEL_EVALUATION_CONTRACT,
    PYTORCH_INFERENCE_CONTRACT,
    TABULAR_PREPROCESS_CONTRACT,
)
from fusionzoo.contracts.steps.step_specification import StepSpecification
from fusionzoo.contracts.training_contracts import PYTORCH_TRAIN_CONTRACT

EVALUATION_FILE = "evaluation.json"
"""The metrics of an evaluation in SageMaker's form, in the output `evaluation` of the evaluation step."""


def _source(specification: StepSpecification, output: str) -> dict[str, str]:
    """Return an output of a step as the source of another step's input."""
    return {specification.step_name: specification.outputs[output].property_path}


TABULAR_PREPROCESS_SPEC = StepSpecification.for_contract(
    "tabular_preprocess", "Processing", TABULAR_PREPROCESS_CONTRACT
)
PYTORCH_TRAINING_SPEC = StepSpecification.for_contract(
    "pytorch_training",
    "Training",
    PYTORCH_TRAIN_CONTRACT,
    sources={name: _source(TABULAR_PREPROCESS_SPEC, name) for name in ("train_data", "val_data", "test_data")},
)
MODEL_EVALUATION_SPEC = StepSpecification.for_contract(
    "model_evaluation",
    "Processing",
    MODEL_EVALUATION_CONTRACT,
    sources={
        "model": _source(PYTORCH_TRAINING_SPEC, "model_output"),
        "data": _source(TABULAR_PREPROCESS_SPEC, "test_data"),
    },
)
PYTORCH_MODEL_SPEC = StepSpecification.for_contract(
    "pytorch_model",
    "Model",
    PYTORCH_INFERENCE_CONTRACT,
    sources={"model": _source(PYTORCH_TRAINING_SPEC, "model_output")},
    service_inputs={"evaluation": _source(MODEL_EVALUATION_SPEC, "evaluation")},
    service_outputs={"model_name": "properties.ModelName"},
)

STEP_SPECIFICATIONS: Mapping[str, StepSpecification] = MappingProxyType(
    {
        specification.step_name: specification
        for specification in (
            TABULAR_PREPROCESS_SPEC,
            PYTORCH_TRAINING_SPEC,
            MODEL_EVALUATION_SPEC,
            PYTORCH_MODEL_SPEC,
        )
    }
)
"""Each specification by the name of its step."""
