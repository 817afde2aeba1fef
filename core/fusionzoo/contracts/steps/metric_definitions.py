"""The regular expressions with which SageMaker finds metrics in the log of a training job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from fusionzoo.errors import Problem, step_errors

EVALUATED_METRICS = (
    *("auroc", "average_precision", "f1_score", "accuracy", "balanced_accuracy", "matthews_corrcoef"),
    *("quadratic_kappa", "log_loss", "brier_score"),
    *("auroc_micro", "average_precision_micro", "f1_micro", "hamming_loss"),
    *("rmse", "mae", "r2", "median_absolute_error", "mape", "spearman"),
)
"""The metrics of every task; SageMaker accepts 40 definitions, so tasks share the names of similar metrics."""
LOGGED_METRICS = (
    "train_loss",
    "val_loss",
    *(f"{split}_{metric}" for split in ("val", "test") for metric in EVALUATED_METRICS),
)
"""The names in the `#metric name=value;` lines of train.py, which do not depend on the model."""
NUMBER = "[-+0-9.eE]+"
"""Matches no NaN and no infinity, which CloudWatch does not take."""


def define_metric(name: str) -> str:
    """Return the regular expression for the `#metric name=value;` lines of a metric. Its group is a finite number."""
    return f"#metric {re.escape(name)}=({NUMBER});"


def define_metrics(extra: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the metric definitions of a training job, those of `extra` (name -> regular expression) included."""
    metrics = {name: define_metric(name) for name in LOGGED_METRICS} | dict(extra)
    return [{"Name": name, "Regex": regex} for name, regex in metrics.items()]


def check_metrics(extra: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each regular expression that finds no value."""
    for name, regex in extra.items():
        try:
            groups = re.compile(regex).groups
        except re.error as cause:
            yield step_errors.invalid_metric_regex(name, regex, cause)
            continue
        if groups < 1:
            yield step_errors.invalid_metric_regex(name, regex, "the regular expression has no group for the value")
