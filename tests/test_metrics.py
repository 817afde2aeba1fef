"""Metrics of scores: values computed by hand and by scikit-learn, undefined metrics, and invalid scores."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import sklearn.metrics

from evaluation_helpers import random_scores
from fusionzoo.data.data_settings import MAX_CLASSES
from fusionzoo.errors import ScoresError
from fusionzoo.evaluation.metric_directions import CLASSIFICATION_METRICS
from fusionzoo.evaluation.metrics import (
    check_scores,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from fusionzoo.evaluation.regression_metrics import column_metrics

FOUR_ROWS = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])


def test_metrics_of_two_classes_are_those_computed_by_hand() -> None:
    metrics = classification_metrics(*FOUR_ROWS)
    assert metrics == pytest.approx(
        {
            "auroc": 3 / 4,  # of the 4 pairs one is the wrong way round: 0.35 below 0.4
            "average_precision": 0.5 * 1 + 0.5 * 2 / 3,
            "f1_score": 2 * 1 / (2 * 1 + 0 + 1),
            "accuracy": 3 / 4,
            "balanced_accuracy": (1 + 1 / 2) / 2,
            "matthews_corrcoef": (2 * 1 - 0 * 1) / math.sqrt(1 * 2 * 2 * 3),
            "quadratic_kappa": (3 / 4 - 1 / 2) / (1 - 1 / 2),  # chance agrees in 1/2 * 3/4 + 1/2 * 1/4 of the rows
            "log_loss": -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4,
            "brier_score": (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4,
        }
    )


def test_metrics_of_three_classes_are_means_over_those_with_rows() -> None:
    y_true = np.array([0, 0, 1])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1]])  # predicted 0, 2, 1
    metrics = classification_metrics(y_true, probabilities)
    assert metrics == pytest.approx(
        {
            "auroc": (1 / 2 + 1) / 2,
            "average_precision": ((0.5 * 1 + 0.5 * 2 / 3) + 1) / 2,
            "f1_score": (2 / 3 + 1) / 2,
            "accuracy": 2 / 3,
            "balanced_accuracy": (1 / 2 + 1) / 2,
            "matthews_corrcoef": (2 * 3 - (2 * 1 + 1 * 1)) / math.sqrt((9 - 5) * (9 - 3)),
            "quadratic_kappa": None,  # the classes have no order
            "log_loss": -(math.log(0.5) + math.log(0.2) + math.log(0.6)) / 3,
            "brier_score": ((0.25 + 0.09 + 0.04) + (0.64 + 0.09 + 0.25) + (0.09 + 0.16 + 0.01)) / 3,
        }
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_agree_with_scikit_learn(classes: int) -> None:
    scored = random_scores(400, classes)
    y, p = scored.labels, scored.scores.astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    metrics = classification_metrics(y, scored.scores)
    binary = classes == 2
    score = p[:, 1] if binary else p
    one_hot = np.eye(classes)[y]
    assert metrics["auroc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, score, multi_class="ovr"), abs=1e-6)
    assert metrics["average_precision"] == pytest.approx(
        sklearn.metrics.average_precision_score(y if binary else one_hot, score), abs=1e-6
    )
    assert metrics["f1_score"] == pytest.approx(
        sklearn.metrics.f1_score(y, p.argmax(axis=1), average="binary" if binary else "macro")
    )
    assert metrics["log_loss"] == pytest.approx(sklearn.metrics.log_loss(y, p))
    assert metrics["brier_score"] == pytest.approx(((p - one_hot) ** 2).sum(axis=1).mean() / (2 if binary else 1))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
def test_metrics_of_decisions_agree_with_scikit_learn_also_if_classes_are_absent_or_never_predicted() -> None:
    rng = np.random.default_rng(0)
    for case in range(300):
        classes = int(rng.integers(2, 7))
        rows, present, decided = (int(rng.integers(1, limit + 1)) for limit in (20, classes, classes))
        y = rng.choice(rng.permutation(classes)[:present], rows)
        probabilities = np.eye(classes)[rng.choice(rng.permutation(classes)[:decided], rows)]
        p = probabilities.argmax(axis=1)
        metrics = classification_metrics(y, probabilities, is_ordered=True)
        expected: dict[str, float | None] = {
            "balanced_accuracy": sklearn.metrics.balanced_accuracy_score(y, p),
            "matthews_corrcoef": sklearn.metrics.matthews_corrcoef(y, p),
            "quadratic_kappa": None,
        }
        if len(set(y)) > 1:
            kappa = sklearn.metrics.cohen_kappa_score(y, p, labels=range(classes), weights="quadratic")
            expected["quadratic_kappa"] = kappa
        else:
            expected["matthews_corrcoef"] = None  # scikit-learn returns 0, even if all predictions are right
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-12), case


def test_a_constant_prediction_is_as_good_as_chance() -> None:
    metrics = classification_metrics(np.array([0, 1, 2, 2]), np.eye(3)[[2, 2, 2, 2]], is_ordered=True)
    assert metrics["balanced_accuracy"] == pytest.approx(1 / 3)
    assert [metrics[name] for name in ("matthews_corrcoef", "quadratic_kappa")] == pytest.approx([0, 0])


def test_the_correlation_of_millions_of_rows_of_many_classes_is_exact() -> None:
    y = np.repeat(np.arange(4), [1, 1, 1, 3_000_000])
    probabilities = np.eye(4, dtype=np.float32)[y]
    assert classification_metrics(y, probabilities)["matthews_corrcoef"] == pytest.approx(1, abs=1e-15)


def test_the_agreement_of_many_classes_needs_no_table_of_all_pairs() -> None:
    probabilities = np.zeros((3, MAX_CLASSES), np.float32)
    probabilities[[0, 1, 2], [0, 9, MAX_CLASSES - 1]] = 1
    metrics = classification_metrics(np.array([0, 9, MAX_CLASSES - 1]), probabilities, is_ordered=True)
    assert (metrics["matthews_corrcoef"], metrics["quadratic_kappa"]) == pytest.approx((1, 1))


def test_the_settings_name_every_metric() -> None:
    assert set(classification_metrics(*FOUR_ROWS)) == set(CLASSIFICATION_METRICS)
    perfect = classification_metrics(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    for name, greater in CLASSIFICATION_METRICS.items():
        assert perfect[name] == (1 if greater else 0), name


def test_an_undefined_metric_is_none() -> None:
    none = classification_metrics(np.zeros(0, int), np.zeros((0, 3)))
    assert none == dict.fromkeys(CLASSIFICATION_METRICS)
    negatives = classification_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert [negatives[name] for name in ("auroc", "average_precision", "f1_score", "accuracy")] == [None, None, None, 1]
    positives = classification_metrics(np.array([1, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert [positives[name] for name in ("auroc", "average_precision")] == [None, None]
    assert positives["f1_score"] == pytest.approx(2 / 3)
    assert [positives[name] for name in ("balanced_accuracy", "matthews_corrcoef", "quadratic_kappa")] == [
        0.5,
        None,
        None,
    ]
    one_of_three = classification_metrics(np.array([2]), np.array([[0.1, 0.2, 0.7]]))
    assert [one_of_three[name] for name in ("auroc", "average_precision", "f1_score")] == [None, None, 1]


def test_the_lower_class_index_is_predicted_if_probabilities_are_equal() -> None:
    assert confusion_matrix(np.array([0, 1, 1]), np.full((3, 2), 0.5)).tolist() == [[1, 0], [2, 0]]
    assert classification_metrics(np.array([0, 1, 1]), np.full((3, 2), 0.5))["f1_score"] == 0


def test_log_loss_normalizes_rows_in_float64() -> None:
    probabilities = np.array([[0.2, 0.7995], [0.6, 0.4002]], dtype=np.float32)
    metrics = classification_metrics(np.array([1, 0]), probabilities)["log_loss"]
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert metrics == pytest.approx(-np.log([exact[0, 1], exact[1, 0]]).mean(), rel=1e-12)


def test_a_true_class_with_probability_zero_has_a_large_finite_log_loss() -> None:
    metrics = classification_metrics(np.array([0, 1]), np.array([[0, 1], [0, 1]], np.float32))
    assert metrics["log_loss"] == pytest.approx(-math.log(np.finfo(np.float64).eps) / 2)
    json.dumps(metrics, allow_nan=False)


def test_metrics_per_class() -> None:
    y_true = np.array([0, 0, 1])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1]])
    metrics = per_class_metrics(y_true, probabilities, ["a", "b", "c"])
    ap = 0.5 * 1 + 0.5 * 2 / 3
    assert list(metrics) == ["a", "b", "c"]
    assert metrics["a"] == pytest.approx(
        {"support": 2, "precision": 1, "recall": 0.5, "f1": 2 / 3, "auroc": 0.5, "average_precision": ap}
    )
    assert metrics["b"] == {"support": 1, "precision": 1, "recall": 1, "f1": 1, "auroc": 1, "average_precision": 1}
    absent = {"support": 0, "precision": 0, "recall": None, "f1": 0, "auroc": None, "average_precision": None}
    assert metrics["c"] == absent


@pytest.mark.parametrize(
    ("y_true", "probabilities", "message"),
    [
        ([0], [[0.5, 0.5], [0.5, 0.5]], "shapes"),
        ([0], [0.5], "shapes"),
        ([0], [[1.0]], "shapes"),
        ([[0]], [[0.5, 0.5]], "shapes"),
        ([0.0], [[0.5, 0.5]], "types"),
        ([True], [[0.5, 0.5]], "types"),
        ([0], [[1, 0]], "types"),
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"y_true\[1\] is class index 2"),
        ([-1], [[0.5, 0.5]], "class index -1"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]], r"1 row, first in scores\[1\]"),
        ([0], [[float("inf"), 0.5]], "NaN or infinite"),
        ([0], [[0.5, 0.502]], "sum to 1"),
        ([0], [[2.0, -1.0]], "not logits"),
    ],
)
def test_invalid_scores_are_an_error_that_names_the_problem(y_true: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        classification_metrics(np.array(y_true), np.array(probabilities))
    assert isinstance(caught.value, ScoresError)
    assert "Fix:" in str(caught.value)


def test_row_sums_may_differ_from_one_by_a_thousandth() -> None:
    check_scores(np.array([0]), np.array([[0.5, 0.5009]]))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_kappa_of_chance_is_exactly_0_and_others_are_those_of_scikit_learn(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for rows in range(classes, 60):
        y = np.arange(rows) % classes
        constant = np.eye(classes)[np.full(rows, classes - 1)]
        assert classification_metrics(y, constant, is_ordered=True)["quadratic_kappa"] == 0.0
        decided = rng.integers(0, classes, rows)
        kappa = classification_metrics(y, np.eye(classes)[decided], is_ordered=True)["quadratic_kappa"]
        assert kappa == pytest.approx(sklearn.metrics.cohen_kappa_score(y, decided, weights="quadratic"), abs=1e-12)


def test_metrics_of_a_regression_are_0_instead_of_a_rounding_error() -> None:
    rng = np.random.default_rng(0)
    for rows in range(2, 200):
        y = rng.normal(0.1, 3, (rows, 1))
        assert column_metrics(y[:, 0], np.full(rows, y.mean()))["r2"] == 0.0
    pairs = np.array([[x, y] for x in range(7) for y in range(9)], float)
    assert column_metrics(pairs[:, 0], pairs[:, 1])["spearman"] == 0.0
    assert column_metrics(np.array([0.0, 1.0]), np.array([0.5, 0.5 + 1e-6]))["r2"] == pytest.approx(2e-6, rel=1e-3)
