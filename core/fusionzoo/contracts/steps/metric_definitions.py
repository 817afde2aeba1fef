"""The regular expressions with which SageMaker finds metrics in the log of a training job."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from fusionzoo.errors import Problem, step_errors

METRICS_BY_TASK: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "classification": (
            *("auroc", "average_precision", "f1_score", "accuracy", "balanced_accuracy", "matthews_corrcoef"),
            *("quadratic_kappa", "log_loss", "brier_score"),
        ),
        "multilabel": (
            *("auroc", "auroc_micro", "average_precision", "average_precision_micro", "f1_score", "f1_micro"),
            *("accuracy", "hamming_loss", "log_loss"),
        ),
        "regression": ("rmse", "mae", "r2", "median_absolute_error", "mape", "spearman"),
    }
)
DEFAULT_TASK = "classification"
EVALUATED_METRICS = tuple(dict.fromkeys(name for names in METRICS_BY_TASK.values() for name in names))
"""The metrics of all tasks; SageMaker accepts 40 definitions, so tasks share the names of similar metrics."""
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


def define_metrics(extra: Mapping[str, str], task: object = None) -> list[dict[str, str]]:
    """Return the metric definitions of a training job, those of `extra` (name -> regular expression) included.

    `task` is that of the job, as its hyperparameters give it. The definitions are those of all tasks if it is another
    value, such as None or a variable of the pipeline.
    """
    evaluated = METRICS_BY_TASK.get(task.strip('"'), EVALUATED_METRICS) if isinstance(task, str) else EVALUATED_METRICS
    others = set(EVALUATED_METRICS) - set(evaluated)
    names = [name for name in LOGGED_METRICS if name.partition("_")[2] not in others]
    metrics = {name: define_metric(name) for name in names} | dict(extra)
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
