"""The metrics of each task by name, whether greater is better, and how settings and logs name those of val.

Importing this module imports no library.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LOSS_METRIC = "val_loss"
VAL_PREFIX = "val/"
CLASSIFICATION_METRICS: Mapping[str, bool] = MappingProxyType(
    {
        "auroc": True,
        "average_precision": True,
        "f1_score": True,
        "accuracy": True,
        "balanced_accuracy": True,
        "matthews_corrcoef": True,
        "quadratic_kappa": True,
        "log_loss": False,
        "brier_score": False,
    }
)
MULTILABEL_METRICS: Mapping[str, bool] = MappingProxyType(
    {
        "auroc": True,
        "auroc_micro": True,
        "average_precision": True,
        "average_precision_micro": True,
        "f1_score": True,
        "f1_micro": True,
        "accuracy": True,
        "hamming_loss": False,
        "log_loss": False,
    }
)
"""Without a suffix, a metric of each label is averaged over the labels (macro)."""
REGRESSION_METRICS: Mapping[str, bool] = MappingProxyType(
    {
        "rmse": False,
        "mae": False,
        "r2": True,
        "median_absolute_error": False,
        "mape": False,
        "spearman": True,
    }
)
METRIC_ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "average_precision_score": "average_precision",
        "accuracy_score": "accuracy",
        "balanced_accuracy_score": "balanced_accuracy",
        "brier_score_loss": "brier_score",
        "quadratic_weighted_kappa": "quadratic_kappa",
        "root_mean_squared_error": "rmse",
        "mean_absolute_error": "mae",
        "r2_score": "r2",
        "mean_absolute_percentage_error": "mape",
        "spearmanr": "spearman",
        "f1_macro": "f1_score",
        "macro_f1": "f1_score",
        "micro_f1": "f1_micro",
        "auroc_macro": "auroc",
        "average_precision_macro": "average_precision",
        "subset_accuracy": "accuracy",
    }
)
"""Other names of metrics, such as those of functions of scikit-learn and SciPy, and the names here."""


def val_metric(name: str) -> str:
    """Return how settings and logs name a metric of the rows of val."""
    return f"{VAL_PREFIX}{name}"


def metric_name(key: str) -> str | None:
    """Return the name of the metric that `val_metric` has named so; None for another key, such as `LOSS_METRIC`."""
    return key.removeprefix(VAL_PREFIX) if key.startswith(VAL_PREFIX) else None


def remove_val_prefix(text: str) -> str:
    """Return what a user calls a metric in lower case, without `val/` or `val_` at the beginning."""
    return text.lower().removeprefix(VAL_PREFIX).removeprefix("val_")
