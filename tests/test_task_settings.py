"""Settings that fit the task, and those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from parsing_helpers import parse_changed, parse_error

NUMBER = {"task": "regression", "num_classes": ...}


def test_a_regression_needs_no_classes_and_has_its_own_default_loss_and_metrics() -> None:
    job = parse_changed(**NUMBER, early_stop_metric="root_mean_squared_error").job
    assert (job.loss, job.early_stop_metric, job.num_classes) == ("mse", "val/rmse", None)
    assert parse_changed().job.loss == "cross_entropy"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_classes": 2}, "num_classes = 2: the setting has a meaning for task classification only"),
        ({"num_classes": 1}, "num_classes = 1: the setting has a meaning for task classification only"),
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
        ({"loss": "mse"}, "give one of cross_entropy, focal"),
    ],
    ids=str,
)
def test_a_setting_of_a_regression_is_refused_in_a_classification(changes: dict[str, Any], message: str) -> None:
    assert message in parse_error(**changes)
