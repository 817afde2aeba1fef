"""evaluation.json: the metrics of an evaluation as SageMaker's Model Registry and condition steps read them.

The form is that of the model quality reports of SageMaker Model Monitor: a group by the kind of the problem, and for
each metric an object with its value. Undefined metrics are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from fusionzoo.atomic_files import write_atomically
from fusionzoo.evaluation.metric_directions import REGRESSION_METRICS
from fusionzoo.evaluation.report import strict_json
from fusionzoo.evaluation.split_evaluation import Evaluator, Metrics

MODEL_QUALITY_FILE = "evaluation.json"
SAGEMAKER_NAMES: Mapping[str, str] = MappingProxyType({"auroc": "auc", "f1_score": "f1"})
"""Metrics that SageMaker's reports name in another way; the others keep their names."""


def write_model_quality(folder: Path, metrics: Metrics, evaluator: Evaluator) -> None:
    """Write evaluation.json for the metrics of one split into a folder.

    Raises:
        errors.OutputError: the file cannot be written.
    """
    text = strict_json(make_model_quality(metrics, evaluator)) + "\n"
    write_atomically(folder / MODEL_QUALITY_FILE, partial(_write, text))


def make_model_quality(metrics: Metrics, evaluator: Evaluator) -> dict[str, dict[str, dict[str, float]]]:
    """Return the content of evaluation.json."""
    if metrics.keys() & REGRESSION_METRICS.keys():
        group = "regression_metrics"
    else:
        is_binary = len(evaluator.report_entries()["classes"]) == 2 and "balanced_accuracy" in metrics
        group = "binary_classification_metrics" if is_binary else "multiclass_classification_metrics"
    values = {SAGEMAKER_NAMES.get(name, name): {"value": value} for name, value in metrics.items() if value is not None}
    return {group: values}


def _write(text: str, file: BinaryIO) -> None:
    file.write(text.encode())
