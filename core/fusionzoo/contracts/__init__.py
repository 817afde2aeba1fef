"""What scripts promise to SageMaker: paths, environment variables, versions and artifacts, each stated once.

`PYTORCH_TRAIN_CONTRACT` is the source of the paths that `train.py` uses. docs/contracts.md describes all contracts.
"""

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

__all__ = [
    "CONTRACTS",
    "MODEL_EVALUATION_CONTRACT",
    "PYTORCH_INFERENCE_CONTRACT",
    "PYTORCH_TRAIN_CONTRACT",
    "TABULAR_PREPROCESS_CONTRACT",
    "XGBOOST_TRAIN_CONTRACT",
    "Access",
    "Evidence",
    "InferenceScriptContract",
    "ProcessingScriptContract",
    "ScriptContract",
    "TrainingScriptContract",
    "ValidationReport",
    "Verdict",
]
