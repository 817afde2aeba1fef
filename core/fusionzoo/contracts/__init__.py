"""What scripts promise to SageMaker: paths, environment variables, versions and artifacts, each stated once.

`PYTORCH_TRAIN_CONTRACT` is the source of the paths that `train.py` uses. docs/contracts.md describes all contracts.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from fusionzoo.contracts.catalog import CONTRACTS
from fusionzoo.contracts.pipeline_contracts import (
    MODEL_EVALUATION_CONTRACT,
    PYTORCH_INFERENCE_CONTRACT,
    TABULAR_PREPROCESS_CONTRACT,
)
from fusionzoo.contracts.script_contract import (
    InferenceScriptContract,
    ProcessingScriptContract,
    ScriptContract,
    TrainingScriptContract,
)
from fusionzoo.contracts.training_contracts import PYTORCH_TRAIN_CONTRACT, XGBOOST_TRAIN_CONTRACT
from fusionzoo.contracts.validation_report import Access, Evidence, ValidationReport, Verdict

if TYPE_CHECKING:
    from fusionzoo.contracts.steps import (
        MODEL_EVALUATION_SPEC,
        PYTORCH_MODEL_SPEC,
        PYTORCH_TRAINING_SPEC,
        TABULAR_PREPROCESS_SPEC,
        PipelineBuilder,
        PyTorchTrainingStepBuilder,
        StepBuilderBase,
        StepSpecification,
    )
    from fusionzoo.contracts.validator import ScriptContractValidator

__all__ = [
    "CONTRACTS",
    "MODEL_EVALUATION_CONTRACT",
    "MODEL_EVALUATION_SPEC",
    "PYTORCH_INFERENCE_CONTRACT",
    "PYTORCH_MODEL_SPEC",
    "PYTORCH_TRAINING_SPEC",
    "PYTORCH_TRAIN_CONTRACT",
    "TABULAR_PREPROCESS_CONTRACT",
    "TABULAR_PREPROCESS_SPEC",
    "XGBOOST_TRAIN_CONTRACT",
    "Access",
    "Evidence",
    "InferenceScriptContract",
    "PipelineBuilder",
    "ProcessingScriptContract",
    "PyTorchTrainingStepBuilder",
    "ScriptContract",
    "ScriptContractValidator",
    "StepBuilderBase",
    "StepSpecification",
    "TrainingScriptContract",
    "ValidationReport",
    "Verdict",
]


def __getattr__(name: str) -> Any:
    """Return the validator, or what `contracts.steps` defines, imported on first use: jobs do not need them."""
    if name == "ScriptContractValidator":
        return importlib.import_module("fusionzoo.contracts.validator").ScriptContractValidator
    if name in __all__:
        return getattr(importlib.import_module("fusionzoo.contracts.steps"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
