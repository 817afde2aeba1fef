"""The contracts of fusionzoo's own scripts, by name."""

from __future__ import annotations

from types import MappingProxyType

from fusionzoo.contracts.pipeline_contracts import (
    MODEL_EVALUATION_CONTRACT,
    PYTORCH_INFERENCE_CONTRACT,
    TABULAR_PREPROCESS_CONTRACT,
)
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.contracts.training_contracts import PYTORCH_TRAIN_CONTRACT, XGBOOST_TRAIN_CONTRACT

CONTRACTS: MappingProxyType[str, ScriptContract] = MappingProxyType(
    {
        "PYTORCH_TRAIN_CONTRACT": PYTORCH_TRAIN_CONTRACT,
        "XGBOOST_TRAIN_CONTRACT": XGBOOST_TRAIN_CONTRACT,
        "TABULAR_PREPROCESS_CONTRACT": TABULAR_PREPROCESS_CONTRACT,
        "MODEL_EVALUATION_CONTRACT": MODEL_EVALUATION_CONTRACT,
        "PYTORCH_INFERENCE_CONTRACT": PYTORCH_INFERENCE_CONTRACT,
    }
)
"""Each contract by its name."""
