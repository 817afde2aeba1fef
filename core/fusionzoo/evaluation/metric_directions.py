"""The metrics of each task by name, and whether greater is better. Importing this module imports no library."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CLASSIFICATION_METRICS: Mapping[str, bool] = MappingProxyType(
    {
        "auroc": True,
        "average_precision": True,
        "f1_score": True,
        "accuracy": True,
        "log_loss": False,
        "brier_score": False,
    }
)
