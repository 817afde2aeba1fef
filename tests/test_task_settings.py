"""Settings that fit the task, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from fusionzoo.artifacts.manifest import Decision
from fusionzoo.tasks.task_choice import TASKS
from parsing_helpers import parse_changed, parse_error

NUMBER = {"task": "regression", "num_classes": ...}
LABELS = {"task": "multilabel", "num_classes": ...}


def test_a_regression_needs_no_classes_and_has_its_own_default_loss_and_metrics() -> None:
    job = parse_changed(**NUMBER, early_stop_metric="root_mean_squared_error").job
    assert (job.loss, job.early_stop_metric, job.num_classes) == ("mse", "val/rmse", None)
    assert parse_changed().job.loss == "cross_entropy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 2}, "num_classes = 2: the setting has a meaning for tasks classification and multilabel only"),
        ({"num_classes": 1}, "num_classes = 1: the setting has a meaning for tasks classification and multilabel only"),
        ({"is_binary": False}, "is_binary = false: the setting has a meaning"),
        ({"class_weights": "balanced"}, 'class_weights = "balanced": the setting has a meaning'),
        ({"classes": ["a", "b"]}, "classes ="),
        ({"label_smoothing": 0.1}, "label_smoothing = 0.1: the setting has a meaning"),
        ({"loss": "focal"}, "give one of mse, mae, huber, quantile"),
        ({"early_stop_metric": "val/auroc"}, "give one of val_loss, val/rmse"),
        ({"loss": "quantile"}, "set loss: quantile and quantiles"),
        ({"quantiles": [0.1, 0.5]}, "set loss: quantile and quantiles"),
        ({"loss": "quantile", "quantiles": [0.1, 0.9]}, "add 0.5 to quantiles"),
        ({"loss": "quantile", "quantiles": [0.5, 0.5]}, "list each once"),
        ({"loss": "quantile", "quantiles": [0.1234567, 0.12345674, 0.5]}, "list each once"),
        ({"huber_delta": 2.0}, "set loss: huber"),
        ({"label_name": ["y", "feature1"]}, "feature1"),
    ],
    ids=str,
)
def test_a_setting_that_does_not_fit_a_regression_is_refused_with_the_reason(
    changes: dict[str, Any], message: str
) -> None:
    assert message in parse_error(**{**NUMBER, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": ...}, "to predict a number, set task: regression"),
        ({"num_classes": 1}, "to predict a number, set task: regression and remove num_classes"),
        ({"target_transform": "log1p"}, "the setting has a meaning for task regression only"),
        ({"label_name": ["y", "z"]}, "for several numbers, set task: regression"),
        ({"label_name": ["y", "z"]}, "for columns of 0 and 1, set task: multilabel"),
        ({"label_separator": "|"}, "the setting has a meaning for task multilabel only"),
        ({"early_stop_metric": "val/hamming_loss"}, "the metric is one of task multilabel"),
        ({"loss": "mse"}, "give one of cross_entropy, focal"),
    ],
    ids=str,
)
def test_a_setting_of_a_regression_is_refused_in_a_classification(changes: dict[str, Any], message: str) -> None:
    assert message in parse_error(**changes)


def test_the_number_of_labels_is_optional_and_macro_metrics_have_several_names() -> None:
    job = parse_changed(**LABELS, early_stop_metric="macro_f1").job
    assert (job.loss, job.early_stop_metric, job.num_classes) == ("binary_cross_entropy", "val/f1_score", None)
    assert parse_changed(**LABELS, early_stop_metric="val_f1_micro").job.early_stop_metric == "val/f1_micro"
    columns = {"label_name": ["y", "z"], "num_classes": 2, "class_weights": {"y": 3}}
    assert parse_changed(**{**LABELS, **columns}).job.label_columns == ["y", "z"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"is_binary": False}, "is_binary = false: the setting has a meaning for task classification only"),
        ({"label_smoothing": 0.1}, "label_smoothing = 0.1: the setting has a meaning for task classification only"),
        ({"loss": "cross_entropy"}, "give one of binary_cross_entropy, focal"),
        ({"focal_gamma": 1.0}, "focal"),
        ({"early_stop_metric": "val/rmse"}, "the metric is one of task regression"),
        ({"num_classes": 1}, "has at least two"),
        ({"num_classes": 3, "class_weights": [1, 2]}, "2 labels, but num_classes has 3"),
        ({"num_classes": 3, "classes": ["a", "b"]}, "2 labels, but num_classes has 3"),
        ({"classes": ["a", "a"]}, "classes"),
        ({"class_weights": [0, 0]}, "class_weights"),
        ({"label_name": ["y", "z"], "num_classes": 3}, "3 labels, but label_name has 2"),
        ({"label_name": ["y", "z"], "class_weights": [1, 2, 3]}, "3 labels, but label_name has 2"),
        ({"label_name": ["y", "z"], "classes": ["y", "z"]}, "label_name has 2 columns, each of which is a label"),
        ({"label_name": ["y", "z"], "label_separator": "|"}, "label_name has 2 columns, each of which is a label"),
    ],
    ids=str,
)
def test_a_setting_that_does_not_fit_a_multilabel_task_is_refused_with_the_reason(
    changes: dict[str, Any], message: str
) -> None:
    assert message in parse_error(**{**LABELS, **changes})


@pytest.mark.parametrize("name", TASKS)
def test_every_task_states_its_metrics_losses_and_a_documented_decision_rule(name: str) -> None:
    task = TASKS[name]
    assert task.metrics
    assert task.losses
    assert f'"{task.decision_rule}"' in str(Decision.__doc__)
