"""Evaluation: metrics, curves, calibration and plots; metrics.json, TensorBoard and PNG files agree."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import sklearn.metrics
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusionzoo.errors import ReportEntryError, ScoresError
from fusionzoo.evaluation import plots
from fusionzoo.evaluation.calibration import compute_calibration, compute_reliability, equal_mass_edges
from fusionzoo.evaluation.curves import MAX_CURVE_POINTS, compute_curves, thin_curve
from fusionzoo.evaluation.metrics import (
    check_scores,
    classification_metrics,
    confusion_matrix,
    per_class_metrics,
)
from fusionzoo.evaluation.report import Report, ScoredSplit, evaluate, strict_json
from fusionzoo.evaluation.split_evaluation import evaluate_split
from fusionzoo.settings import GREATER_IS_BETTER, METRICS

FOUR_ROWS = np.array([0, 0, 1, 1]), np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])


def random_scores(rows: int, classes: int, seed: int = 0, present: list[int] | None = None) -> ScoredSplit:
    """Return random classes, and float32 probabilities that are higher for the true class."""
    rng = np.random.default_rng(seed)
    y_true = rng.choice(range(classes) if present is None else present, size=rows)
    logits = rng.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), y_true] += 1.5
    odds = np.exp(logits)
    return ScoredSplit(y_true, odds / odds.sum(axis=1, keepdims=True))


# --- metrics


def test_metrics_of_two_classes_are_those_computed_by_hand() -> None:
    metrics = classification_metrics(*FOUR_ROWS)
    assert metrics == pytest.approx(
        {
            "auroc": 3 / 4,  # of the 4 pairs one is the wrong way round: 0.35 below 0.4
            "average_precision": 0.5 * 1 + 0.5 * 2 / 3,
            "f1_score": 2 * 1 / (2 * 1 + 0 + 1),
            "accuracy": 3 / 4,
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
            "log_loss": -(math.log(0.5) + math.log(0.2) + math.log(0.6)) / 3,
            "brier_score": ((0.25 + 0.09 + 0.04) + (0.64 + 0.09 + 0.25) + (0.09 + 0.16 + 0.01)) / 3,
        }
    )


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_metrics_agree_with_scikit_learn(classes: int) -> None:
    scored = random_scores(400, classes)
    y, p = scored.y_true, scored.probabilities.astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    metrics = classification_metrics(y, scored.probabilities)
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


def test_the_settings_name_every_metric() -> None:
    assert set(classification_metrics(*FOUR_ROWS)) == set(METRICS) == set(GREATER_IS_BETTER)
    perfect = classification_metrics(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    for name, greater in GREATER_IS_BETTER.items():
        assert perfect[name] == (1 if greater else 0), name


def test_an_undefined_metric_is_none() -> None:
    none = classification_metrics(np.zeros(0, int), np.zeros((0, 3)))
    assert none == dict.fromkeys(METRICS)
    negatives = classification_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert [negatives[name] for name in ("auroc", "average_precision", "f1_score", "accuracy")] == [None, None, None, 1]
    positives = classification_metrics(np.array([1, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert [positives[name] for name in ("auroc", "average_precision")] == [None, None]
    assert positives["f1_score"] == pytest.approx(2 / 3)
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
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], r"Row 1 \(from 0\) has class index 2"),
        ([-1], [[0.5, 0.5]], "class index -1"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]], "1 row, first in row 1"),
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
    result = compute_curves(scored.y_true == 1, scored.probabilities[:, 1])
    assert result is not None
    roc, pr = result.roc, result.precision_recall
    assert len(roc.fpr) == len(roc.tpr) == len(roc.threshold) <= MAX_CURVE_POINTS
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)
    assert roc.threshold[0] is None
    assert all(a >= b for a, b in zip(roc.threshold[1:], roc.threshold[2:], strict=False))  # type: ignore[operator]
    auroc = classification_metrics(scored.y_true, scored.probabilities)["auroc"]
    assert sklearn.metrics.auc(roc.fpr, roc.tpr) == pytest.approx(auroc, abs=2e-3)
    assert len(pr.precision) == len(pr.recall) == len(pr.threshold) <= MAX_CURVE_POINTS
    assert (pr.recall[0], pr.recall[-1], pr.precision[-1], pr.threshold[-1]) == (1, 0, 1, None)


def test_each_point_of_a_curve_agrees_with_its_threshold() -> None:
    scored = random_scores(3000, 3)
    positive, score = scored.y_true == 2, scored.probabilities[:, 2].astype(np.float64)
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
    evaluation = evaluate_split("val", random_scores(50, 5, present=[1, 3]), list("abcde"))
    assert sorted(evaluation.curves) == ["b", "d"]


# --- plots


def find_legend(figure: Figure) -> Legend:
    (axes,) = figure.axes
    legend = axes.get_legend()
    assert legend is not None
    return legend


NAMES = ["_costs $5 to $10 and\nis described at great length, to no end", "高兴", "plain", ""]
CASES = {
    "two": (random_scores(200, 2), [0, 1]),
    "two, one class only": (random_scores(50, 2, present=[1]), [False, True]),
    "three, awkward names": (random_scores(200, 4), NAMES),
    "forty, ten of them absent": (
        random_scores(2000, 40, present=list(range(30))),
        [f"class {k} of some length" for k in range(40)],
    ),
    "no rows": (ScoredSplit(np.zeros(0, int), np.zeros((0, 3), np.float32)), ["a", "b", "c"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_plot_is_drawn_without_a_warning(case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images = plots.draw_plots(evaluate_split("val", *CASES[case]))
    assert sorted(images) == ["confusion_matrix", "precision_recall", "probabilities", "reliability", "roc"]
    for png in images.values():
        image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(image.shape) > 300
        assert (image < 128).sum() > 500


def test_the_title_of_a_plot_names_split_rows_and_metric() -> None:
    evaluation = evaluate_split("val", random_scores(1500, 3), ["a", "b", "c"])
    (axes,) = plots.draw_roc(evaluation).axes
    assert axes.get_title() == f"val: 1,500 rows, macro AUROC {evaluation.metrics['auroc']:.3f}"
    (axes,) = plots.draw_precision_recall(evaluate_split("test", random_scores(9, 2, present=[0]), [0, 1])).axes
    assert axes.get_title() == "test: 9 rows, average precision undefined"


def test_a_legend_of_forty_classes_names_only_the_most_frequent() -> None:
    legend = find_legend(plots.draw_roc(evaluate_split("val", *CASES["forty, ten of them absent"])))
    assert len(legend.get_texts()) == len(plots.COLORS) + 2, "the colored classes, the others, and the baseline"
    assert legend.get_title().get_text() == "20 of 40 classes"
    assert all(len(text.get_text()) < 40 for text in legend.get_texts())


def test_dollar_signs_in_a_class_name_are_not_math() -> None:
    legend = find_legend(plots.draw_roc(evaluate_split("val", random_scores(50, 3), ["$5 to $10", "less", "more"])))
    text = legend.get_texts()[0].get_text()
    assert not matplotlib.cbook.is_math_text(text)
    assert text.endswith(r"\$5 to \$10")


@pytest.mark.parametrize("case", CASES)
def test_every_legend_is_inside_its_axes(case: str) -> None:
    evaluation = evaluate_split("val", *CASES[case], "multimodal_bert, label dispute")
    for draw in (plots.draw_roc, plots.draw_precision_recall, plots.draw_reliability, plots.draw_probabilities):
        figure = draw(evaluation)
        assert not figure.legends
        FigureCanvasAgg(figure).draw()
        for axes in figure.axes:
            if legend := axes.get_legend():
                inner, outer = legend.get_window_extent(), axes.get_window_extent()
                assert outer.x0 <= inner.x0 <= inner.x1 <= outer.x1, draw.__name__
                assert outer.y0 <= inner.y0 <= inner.y1 <= outer.y1, draw.__name__


@pytest.mark.parametrize("case", CASES)
def test_every_plot_names_the_model_and_the_label(case: str) -> None:
    evaluation = evaluate_split("val", *CASES[case], "multimodal_bert, label $ of_dispute")
    assert evaluation.confusion is not None
    figures = [
        *(draw(evaluation) for draw in (plots.draw_roc, plots.draw_precision_recall, plots.draw_reliability)),
        plots.draw_confusion_matrix(evaluation, evaluation.confusion),
        plots.draw_probabilities(evaluation),
    ]
    for figure in figures:
        title = figure.get_suptitle() or figure.axes[0].get_title()
        assert title.startswith("multimodal_bert, label \\$ of_dispute\nval: ")


def test_the_panels_of_many_classes_have_one_scale_and_named_axes() -> None:
    figure = plots.draw_probabilities(evaluate_split("val", *CASES["forty, ten of them absent"]))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == plots.MAX_PANELS
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in panels}) == 1
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("probability of the class", "fraction of the rows")


def test_the_baseline_of_precision_and_recall_is_the_rate_of_the_class() -> None:
    scored = random_scores(200, 2)
    legend = find_legend(plots.draw_precision_recall(evaluate_split("val", scored, ["no", "yes"])))
    texts = [text.get_text() for text in legend.get_texts()]
    assert f"{(scored.y_true == 1).mean():.3f}  random: the rate of the class" in texts
    assert any(text.endswith("  yes") for text in texts)


def test_a_confusion_matrix_states_rows_and_percentages_of_the_true_class() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]], np.float32)
    evaluation = evaluate_split("val", ScoredSplit(np.array([0, 0, 0, 0, 1]), probabilities), ["a", "b", "absent"])
    assert evaluation.confusion is not None
    figure = plots.draw_confusion_matrix(evaluation, evaluation.confusion)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["3\n75%", "1\n25%", "0\n0%", "0\n0%", "1\n100%", "0\n0%", "0", "0", "0"]


def test_a_thousand_and_one_classes_have_no_confusion_matrix() -> None:
    evaluation = evaluate_split("val", random_scores(20, 1001), list(range(1001)))
    assert evaluation.confusion is None
    assert evaluation.as_json()["confusion_matrix"] is None


def test_plotting_uses_neither_torch_nor_pyplot_and_keeps_the_backend() -> None:
    code = (
        "import sys, numpy as np, matplotlib\n"
        "matplotlib.use('svg')\n"
        "from fusionzoo.evaluation import plots, report, split_evaluation\n"
        "scored = split_evaluation.ScoredSplit(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]))\n"
        "assert plots.draw_plots(split_evaluation.evaluate_split('val', scored, [0, 1]))\n"
        "assert matplotlib.get_backend() == 'svg'\n"
        "print(sorted({'torch', 'matplotlib.pyplot', 'tensorboard'} & sys.modules.keys()))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr


# --- the report


@pytest.fixture(scope="module")
def report_and_folder(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """A report of two splits and three classes, written over another report."""
    folder = tmp_path_factory.mktemp("report")
    report = evaluate(
        {"val": random_scores(300, 3), "test": random_scores(100, 3, seed=1, present=[0, 2])}, ["low", "mid", "high"]
    )
    evaluate({}, ["no", "yes"]).write(folder)
    report.write(folder, extra={"training": {"epochs": 3}})
    return report, folder


def test_metrics_json_has_every_split_the_classes_and_the_extra_entries(report_and_folder: tuple[Report, Path]) -> None:
    report, folder = report_and_folder
    report_json = json.loads((folder / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert sorted(report_json) == ["classes", "splits", "training"]
    assert report_json["classes"] == ["low", "mid", "high"]
    assert report_json["training"] == {"epochs": 3}
    val, test = report_json["splits"]["val"], report_json["splits"]["test"]
    assert sorted(val) == ["calibration", "confusion_matrix", "curves", "metrics", "per_class", "rows"]
    assert (val["rows"], test["rows"]) == (300, 100)
    assert val["metrics"] == report.metrics("val")
    assert sum(map(sum, val["confusion_matrix"])) == 300
    assert test["per_class"]["mid"]["auroc"] is None
    assert sorted(test["curves"]) == ["high", "low"]
    assert (folder / "metrics.json").read_text("utf-8").index('"calibration"') < 200


def test_values_in_tensorboard_and_metrics_json_agree(report_and_folder: tuple[Report, Path]) -> None:
    _, folder = report_and_folder
    files = list((folder / "tensorboard_eval").iterdir())
    assert len(files) == 1
    splits = json.loads((folder / "metrics.json").read_text("utf-8"))["splits"]
    events = EventAccumulator(str(folder / "tensorboard_eval"), size_guidance={"images": 0, "tensors": 0})
    events.Reload()
    expected = {
        f"{name}/{metric}": value for name, split in splits.items() for metric, value in split["metrics"].items()
    }
    for name, split in splits.items():
        for bins in ("equal_width", "equal_mass"):
            expected[f"{name}/ece_{bins}"] = split["calibration"][bins]["expected_calibration_error"]
    scalars = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert scalars == {tag: float(np.float32(value)) for tag, value in expected.items()}
    for name, split in splits.items():
        for label, class_curves in split["curves"].items():
            (event,) = events.Tensors(f"{name}/pr/{label}")
            tensor = np.array(event.tensor_proto.float_val).reshape(6, 101)
            counts = class_curves["counts"]
            columns = ("true_positives", "false_positives", "true_negatives", "false_negatives")
            assert tensor[:4].tolist() == [counts[column] for column in columns]
            recall = np.array(counts["true_positives"]) / split["per_class"][label]["support"]
            assert tensor[5] == pytest.approx(recall, abs=1e-6)
    assert len(events.Tags()["tensors"]) == 3 + 2


def test_plots_in_tensorboard_are_the_png_files(report_and_folder: tuple[Report, Path]) -> None:
    _, folder = report_and_folder
    events = EventAccumulator(str(folder / "tensorboard_eval"), size_guidance={"images": 0})
    events.Reload()
    files = sorted((folder / "plots").iterdir())
    assert len(files) == 10
    assert sorted(events.Tags()["images"]) == sorted(f.stem.replace("_", "/plots/", 1) for f in files)
    for file in files:
        (event,) = events.Images(file.stem.replace("_", "/plots/", 1))
        shown = Image.open(io.BytesIO(event.encoded_image_string)).convert("RGB")
        assert np.array_equal(np.asarray(shown), np.asarray(Image.open(file).convert("RGB")))


@pytest.mark.parametrize("classes", [[0, 1], [0.5, 1.0], [False, True], ["no", "ja, sicher"]], ids=str)
def test_metrics_json_keeps_the_type_of_labels(classes: list[Any]) -> None:
    report_json = json.loads(strict_json(evaluate({"val": random_scores(20, 2)}, classes).as_json()))
    assert report_json["classes"] == classes
    assert [type(label) for label in report_json["classes"]] == [type(label) for label in classes]
    assert len(report_json["splits"]["val"]["per_class"]) == 2


def test_a_wrong_number_of_labels_or_labels_with_the_same_text_are_an_error() -> None:
    with pytest.raises(ScoresError, match="3 labels, but probabilities of 2"):
        evaluate({"val": random_scores(20, 2)}, ["a", "b", "c"])
    with pytest.raises(ScoresError, match="have the same text: '1'"):
        evaluate({"val": random_scores(20, 2)}, ["1", 1])


def test_an_extra_entry_with_a_reserved_name_or_nan_is_an_error(tmp_path: Path) -> None:
    report = evaluate({"val": random_scores(20, 2)}, [0, 1])
    with pytest.raises(ReportEntryError, match="'splits'"):
        report.write(tmp_path, extra={"splits": {}})
    with pytest.raises(ValueError, match="JSON"):
        report.write(tmp_path, extra={"loss": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_json_is_sorted_strict_and_reads_back() -> None:
    value = {"b": [1, 2.5, None, True, "é\n"], "a": {"x": [[1, 2], [3, 4]], "empty": {}, "none": []}, "c": [{"k": 1}]}
    text = strict_json(value)
    assert json.loads(text) == value
    assert text.index('"a"') < text.index('"b"') < text.index('"c"')
    assert "[1, 2.5, null, true" in text
    with pytest.raises(ValueError, match="JSON"):
        strict_json({"deep": [{"x": [float("inf")]}]})
