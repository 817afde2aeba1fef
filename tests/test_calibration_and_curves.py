"""Calibration and curves: bins, thresholds and thinned curves."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from evaluation_helpers import random_scores
from fusionzoo.evaluation.calibration import compute_calibration, compute_reliability, equal_mass_edges
from fusionzoo.evaluation.class_evaluation import evaluate_class_split
from fusionzoo.evaluation.curves import MAX_CURVE_POINTS, compute_curves, thin_curve
from fusionzoo.evaluation.metrics import (
    classification_metrics,
)

# --- calibration


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.1, 0.3, 0.6, 0.9])
    outcome = np.array([False, True, True, True])
    result = compute_reliability(probability, outcome, np.array([0, 0.5, 1]))
    assert result.rows == [2, 2]
    assert result.mean_probability == pytest.approx([0.2, 0.75])
    assert result.observed_rate == [0.5, 1]
    assert (result.lower, result.upper) == ([0, 0.5], [0.5, 1])
    assert result.expected_calibration_error == pytest.approx(0.5 * 0.3 + 0.5 * 0.25)


def test_a_probability_on_an_edge_is_in_the_lower_bin() -> None:
    assert compute_reliability(np.array([0.5, 0.0, 1.0]), np.ones(3, bool), np.array([0, 0.5, 1])).rows == [2, 1]


def test_calibrated_probabilities_have_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    calibrated = compute_calibration((rng.random(100_000) < p).astype(int), np.stack([1 - p, p], axis=1))
    overconfident = compute_calibration(
        (rng.random(100_000) < 0.5 + (p - 0.5) / 2).astype(int), np.stack([1 - p, p], axis=1)
    )
    assert calibrated.of == "positive_class"
    assert calibrated.equal_width is not None
    assert calibrated.equal_mass is not None
    assert overconfident.equal_width is not None
    assert overconfident.equal_mass is not None
    assert calibrated.equal_width.expected_calibration_error < 0.01
    assert calibrated.equal_mass.expected_calibration_error < 0.01
    assert overconfident.equal_width.expected_calibration_error == pytest.approx(0.125, abs=0.01)
    assert overconfident.equal_mass.expected_calibration_error == pytest.approx(0.125, abs=0.01)
    assert max(calibrated.equal_mass.rows) - min(calibrated.equal_mass.rows) <= 1


def test_many_classes_are_calibrated_by_the_predicted_class() -> None:
    result = compute_calibration(np.array([0, 2]), np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2]]))
    assert result.of == "predicted_class"
    assert result.equal_width
    assert result.equal_width.mean_probability == pytest.approx([0.6, 0.8])
    assert result.equal_width.observed_rate == [0, 1]


def test_calibration_does_not_depend_on_row_order_even_with_equal_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.choice([0.0, 0.2, 0.2, 0.7, 1.0], size=1000)
    y_true, probabilities = rng.integers(0, 2, 1000), np.stack([1 - p, p], axis=1)
    order = np.argsort(y_true)
    first, second = compute_calibration(y_true, probabilities), compute_calibration(y_true[order], probabilities[order])
    assert first.equal_mass is not None
    assert second.equal_mass is not None
    assert first.equal_mass.rows == second.equal_mass.rows == np.unique(p, return_counts=True)[1].tolist()
    assert first.equal_mass.observed_rate == second.equal_mass.observed_rate


def test_equal_probabilities_share_one_bin() -> None:
    assert compute_reliability(np.full(9, 0.4), np.ones(9, bool), equal_mass_edges(np.full(9, 0.4), 15)).rows == [9]


# --- curves


def test_curves_keep_their_ends_and_area_with_few_points() -> None:
    scored = random_scores(20_000, 2)
    result = compute_curves(scored.labels == 1, scored.scores[:, 1])
    assert result is not None
    roc, pr = result.roc, result.precision_recall
    assert len(roc.fpr) == len(roc.tpr) == len(roc.threshold) <= MAX_CURVE_POINTS
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)
    assert roc.threshold[0] is None
    assert all(a >= b for a, b in zip(roc.threshold[1:], roc.threshold[2:], strict=False))  # type: ignore[operator]
    auroc = classification_metrics(scored.labels, scored.scores)["auroc"]
    assert sklearn.metrics.auc(roc.fpr, roc.tpr) == pytest.approx(auroc, abs=2e-3)
    assert len(pr.precision) == len(pr.recall) == len(pr.threshold) <= MAX_CURVE_POINTS
    assert (pr.recall[0], pr.recall[-1], pr.precision[-1], pr.threshold[-1]) == (1, 0, 1, None)


def test_each_point_of_a_curve_agrees_with_its_threshold() -> None:
    scored = random_scores(3000, 3)
    positive, score = scored.labels == 2, scored.scores[:, 2].astype(np.float64)
    result = compute_curves(positive, score, points=20)
    assert result is not None
    for fpr, tpr, threshold in list(zip(result.roc.fpr, result.roc.tpr, result.roc.threshold, strict=True))[1:]:
        assert threshold is not None
        assert ((score >= threshold)[~positive].mean(), (score >= threshold)[positive].mean()) == (fpr, tpr)
    pr = result.precision_recall
    for precision, recall, threshold in list(zip(pr.precision, pr.recall, pr.threshold, strict=True))[:-1]:
        assert threshold is not None
        assert (positive[score >= threshold].mean(), (score >= threshold)[positive].mean()) == (precision, recall)
    for k, threshold in enumerate(result.counts.threshold):
        assert result.counts.true_positives[k] == (score >= threshold)[positive].sum()
        assert result.counts.false_positives[k] == (score >= threshold)[~positive].sum()
        assert result.counts.true_negatives[k] == (score < threshold)[~positive].sum()
        assert result.counts.false_negatives[k] == (score < threshold)[positive].sum()


def test_a_score_equal_to_a_threshold_is_positive() -> None:
    result = compute_curves(np.array([True, False, True]), np.array([0.25, 0.25, 0.5]))
    assert result is not None
    assert (result.counts.threshold[25], result.counts.true_positives[25], result.counts.false_positives[25]) == (
        0.25,
        2,
        1,
    )
    assert (result.counts.true_positives[26], result.counts.false_positives[26]) == (1, 0)


def test_a_thinned_curve_keeps_its_ends_and_its_corner() -> None:
    x, y = (
        np.concatenate([np.zeros(500), np.linspace(0, 1, 500)]),
        np.concatenate([np.linspace(0, 1, 500), np.ones(500)]),
    )
    indices = thin_curve(x, y, 11)
    assert (indices[0], indices[-1]) == (0, 999)
    assert len(indices) <= 11
    assert np.diff(x[indices] + y[indices]).max() == pytest.approx(0.2, abs=0.01)


def test_a_class_with_no_rows_or_all_rows_has_no_curves() -> None:
    assert compute_curves(np.zeros(3, bool), np.ones(3)) is None
    assert compute_curves(np.ones(3, bool), np.ones(3)) is None
    evaluation = evaluate_class_split("val", random_scores(50, 5, present=[1, 3]), list("abcde"))
    assert sorted(evaluation.curves) == ["b", "d"]
