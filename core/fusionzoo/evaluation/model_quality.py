"""evaluation.json: the metrics of an evaluation as SageMaker's Model Registry and condition steps read them.

The form is that of the model quality reports of SageMaker Model Monitor: a group by the kind of the problem, and for
each metric an object with its value. Undefined metrics are left out. The group `baseline` has the metrics of a baseline
and, of those that are compared, the difference of the model and the bounds of its confidence interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from fusionzoo.atomic_files import write_text_atomically
from fusionzoo.evaluation.baseline_comparison import BaselineComparison
from fusionzoo.evaluation.metric_directions import REGRESSION_METRICS
from fusionzoo.evaluation.report import strict_json
from fusionzoo.evaluation.split_evaluation import Evaluator, Metrics

MODEL_QUALITY_FILE = "evaluation.json"
SAGEMAKER_NAMES: Mapping[str, str] = MappingProxyType({"auroc": "auc", "f1_score": "f1"})
"""Metrics that SageMaker's reports name in another way; the others keep their names."""


def write_model_quality(
    folder: Path, metrics: Metrics, evaluator: Evaluator, comparison: BaselineComparison | None = None
) -> None:
    """Write evaluation.json for the metrics of one split, and their comparison with a baseline, into a folder.

    Raises:
        errors.OutputError: the file cannot be written.
    """
    content = make_model_quality(metrics, evaluator)
    if comparison is not None:
        content["baseline"] = make_baseline_group(comparison)
    write_text_atomically(folder / MODEL_QUALITY_FILE, strict_json(content) + "\n")


def make_model_quality(metrics: Metrics, evaluator: Evaluator) -> dict[str, dict[str, dict[str, float]]]:
    """Return the content of evaluation.json without a baseline."""
    if metrics.keys() & REGRESSION_METRICS.keys():
        group = "regression_metrics"
    else:
        is_binary = len(evaluator.report_entries()["classes"]) == 2 and "balanced_accuracy" in metrics
        group = "binary_classification_metrics" if is_binary else "multiclass_classification_metrics"
    values = {SAGEMAKER_NAMES.get(name, name): {"value": value} for name, value in metrics.items() if value is not None}
    return {group: values}


def make_baseline_group(comparison: BaselineComparison) -> dict[str, dict[str, float]]:
    """Return the metrics of the baseline; of those that are compared, also `difference`, `lower` and `upper`."""
    group = {name: {"value": value} for name, value in comparison.metrics.items() if value is not None}
    for name, one in comparison.differences.items():
        if one.difference is not None and one.confidence_interval is not None:
            lower, upper = one.confidence_interval
            group[name] |= {"difference": one.difference, "lower": lower, "upper": upper}
    return {SAGEMAKER_NAMES.get(name, name): values for name, values in group.items()}
