"""Few rows of a class and extreme numbers to predict cause one warning before the training, with a fix."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest

from fusionzoo.data.targets.class_labels import LabelMap
from fusionzoo.data.targets.label_lists import LabelLists
from fusionzoo.data.targets.numeric_target import NumericTarget, TargetScale
from fusionzoo.tasks.label_limits import find_extreme_rows
from fusionzoo.tasks.multilabel import Multilabel
from fusionzoo.tasks.regression import Regression
from shop import JobFolder, shop_rows
from task_helpers import make_classification
from training_helpers import make_job_settings

RNG = np.random.default_rng(0)
PRICES = RNG.normal(5e5, 2e5, (700, 1)).clip(1e5)


def find_number_limits(train: np.ndarray, val: np.ndarray, transform: Any = None, **settings: Any) -> list[Any]:
    values = np.log1p(train) if transform else train
    target = NumericTarget((TargetScale("price", float(values.mean()), float(values.std())),), transform)
    return Regression(target).find_label_limits(train, val, make_job_settings(**settings))


def add_extremes(prices: np.ndarray, factor: float = 100.0) -> np.ndarray:
    changed = prices.copy()
    changed[:7] *= factor
    return changed


def test_a_class_with_few_rows_of_val_is_reported_with_its_rows_of_both_splits() -> None:
    train, val = np.repeat([0, 1], [636, 4]), np.repeat([0, 1], [159, 1])
    (limit,) = make_classification().find_label_limits(train, val, make_job_settings(val_fraction=0.2))
    assert limit.describe() == (
        "There are few rows of class '1' (4 in train, 1 in val), so metrics of val such as balanced_accuracy and auroc "
        "depend on single rows. Fix: add rows of class '1', or raise val_fraction (it is 0.2)."
    )
    assert make_classification().find_label_limits(train, val, make_job_settings())[0].fix == "add rows of class '1'"


@pytest.mark.parametrize("rows", [[150, 10], [160, 0]], ids=["enough", "none, which another warning reports"])
def test_a_class_with_enough_rows_or_none_in_val_is_not_reported(rows: list[int]) -> None:
    train, val = np.repeat([0, 1], [600, 40]), np.repeat([0, 1], rows)
    assert make_classification().find_label_limits(train, val, make_job_settings()) == []


def test_of_hundreds_of_rare_classes_the_three_rarest_are_named_in_one_line() -> None:
    classes = [f"class {k}" for k in range(300)]
    val = np.repeat(np.arange(300), [5] * 299 + [1])
    limits = make_classification(classes).find_label_limits(np.repeat(val, 4), val, make_job_settings())
    (text,) = [limit.describe() for limit in limits]
    assert "of class 'class 299' (4 in train, 1 in val), of class 'class 0' (20 in train, 5 in val), of class" in text
    assert "and 297 more, so metrics" in text
    assert text.endswith("Fix: add such rows.")
    assert len(text) < 350


def test_a_label_that_applies_to_few_rows_or_to_nearly_all_is_reported() -> None:
    train = np.stack([np.arange(200) % 2, np.arange(200) < 30, np.arange(200) >= 30], axis=1).astype(np.int8)
    val = np.stack([np.arange(50) % 2, np.arange(50) < 2, np.arange(50) >= 3], axis=1).astype(np.int8)
    task = Multilabel(LabelLists(LabelMap("tags", ("a", "b", "c")), None, "lists"))
    (limit,) = task.find_label_limits(train, val, make_job_settings())
    assert limit.finding == (
        "there are few rows with label 'b' (30 in train, 2 in val), without label 'c' (30 in train, 3 in val)"
    )


def test_extreme_numbers_are_reported_with_what_the_job_can_set() -> None:
    (limit,) = find_number_limits(add_extremes(PRICES), PRICES)
    assert "the target 'price' has extreme values in train (maximum " in limit.finding
    assert "(minimum" not in limit.finding  # the other end is not extreme
    assert limit.finding.endswith("% of the variance of 700 rows")
    assert limit.effect
    assert limit.fix == "set target_transform: log1p, loss: huber or mae, or correct or remove such rows"
    (limit,) = find_number_limits(add_extremes(PRICES, -100.0), PRICES)
    assert "(minimum -" in limit.finding
    assert limit.fix == "set loss: huber or mae, or correct or remove such rows"  # no logarithm of a negative number


@pytest.mark.parametrize(
    ("settings", "fix"),
    [
        ({"loss": "huber"}, "set target_transform: log1p, lower huber_delta (it is 1), or correct or remove such rows"),
        ({"loss": "mae"}, "set target_transform: log1p, or correct or remove such rows"),
    ],
)
def test_a_robust_loss_causes_no_warning_and_still_explains_a_model_without_improvement(
    settings: dict[str, Any], fix: str
) -> None:
    (limit,) = find_number_limits(add_extremes(PRICES), PRICES, **settings)
    assert (limit.effect, limit.fix) == ("", fix)


def test_extreme_numbers_of_val_alone_are_reported_and_those_that_a_logarithm_tames_are_not() -> None:
    (limit,) = find_number_limits(PRICES, add_extremes(PRICES))
    assert "has extreme values in val" in limit.finding
    heavy = np.exp(RNG.normal(10, 2, (1000, 1)))
    assert find_number_limits(heavy, heavy)
    assert find_number_limits(heavy, heavy, "log1p") == []


@pytest.mark.parametrize(
    "values",
    [
        RNG.normal(size=20),
        RNG.exponential(size=100_000),
        np.where(np.arange(1000) < 5, 1.0, 0.0),
        np.array([0.0, 1e9]),
    ],
    ids=["normal", "exponential", "two values", "two rows"],
)
def test_usual_numbers_are_not_extreme(values: np.ndarray) -> None:
    assert len(find_extreme_rows(values)) == 0


def test_the_log_of_a_job_has_the_warning_once_and_before_the_training(
    tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    job = JobFolder(tmp_path_factory.mktemp("job")).fill(rows=64, max_epochs=1, onnx="off")
    job.channel("val", shop_rows(30, 1).assign(target=[1] * 4 + [0] * 26))
    assert job.run() == 0, job.failure
    log = capsys.readouterr().out
    before, _, after = log.partition("Training on 1 process")
    assert before.count("There are few rows of class '1'") == 1
    assert "4 in val), so metrics of val such as" in before
    assert ", so metrics of val such as" not in after
    assert logging.getLevelName(logging.WARNING) in before
