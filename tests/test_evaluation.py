"""evaluation: figures, curves, calibration and plots, and that the three places where they stand agree."""

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
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from fusionzoo.errors import ReportEntryError, ScoresError
from fusionzoo.evaluation import plots
from fusionzoo.evaluation.calibration import calibration, mass, reliability
from fusionzoo.evaluation.curves import CURVE_POINTS, curves, thin
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


def draw(rows: int, classes: int, seed: int = 0, present: list[int] | None = None) -> ScoredSplit:
    """Rows of random classes, float32 probabilities that lean towards the true class."""
    rng = np.random.default_rng(seed)
    y_true = rng.choice(range(classes) if present is None else present, size=rows)
    logits = rng.normal(size=(rows, classes)).astype(np.float32)
    logits[np.arange(rows), y_true] += 1.5
    odds = np.exp(logits)
    return ScoredSplit(y_true, odds / odds.sum(axis=1, keepdims=True))


# --- figures


def test_figures_of_two_classes_are_those_computed_by_hand() -> None:
    found = classification_metrics(*FOUR_ROWS)
    assert found == pytest.approx(
        {
            "auroc": 3 / 4,  # of the 4 pairs one is the wrong way round: 0.35 below 0.4
            "average_precision": 0.5 * 1 + 0.5 * 2 / 3,
            "f1_score": 2 * 1 / (2 * 1 + 0 + 1),
            "accuracy": 3 / 4,
            "log_loss": -(math.log(0.9) + math.log(0.6) + math.log(0.35) + math.log(0.8)) / 4,
            "brier_score": (0.1**2 + 0.4**2 + 0.65**2 + 0.2**2) / 4,
        }
    )


def test_figures_of_three_classes_are_means_over_those_that_have_rows() -> None:
    y_true = np.array([0, 0, 1])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1]])  # predicted 0, 2, 1
    found = classification_metrics(y_true, probabilities)
    assert found == pytest.approx(
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
def test_figures_agree_with_scikit_learn(classes: int) -> None:
    scored = draw(400, classes)
    y, p = scored.y_true, scored.probabilities.astype(np.float64)
    p /= p.sum(axis=1, keepdims=True)
    found = classification_metrics(y, scored.probabilities)
    binary = classes == 2
    score = p[:, 1] if binary else p
    one_hot = np.eye(classes)[y]
    assert found["auroc"] == pytest.approx(sklearn.metrics.roc_auc_score(y, score, multi_class="ovr"), abs=1e-6)
    assert found["average_precision"] == pytest.approx(
        sklearn.metrics.average_precision_score(y if binary else one_hot, score), abs=1e-6
    )
    assert found["f1_score"] == pytest.approx(
        sklearn.metrics.f1_score(y, p.argmax(axis=1), average="binary" if binary else "macro")
    )
    assert found["log_loss"] == pytest.approx(sklearn.metrics.log_loss(y, p))
    assert found["brier_score"] == pytest.approx(((p - one_hot) ** 2).sum(axis=1).mean() / (2 if binary else 1))


def test_the_figures_are_those_that_the_settings_name() -> None:
    assert set(classification_metrics(*FOUR_ROWS)) == set(METRICS) == set(GREATER_IS_BETTER)
    perfect = classification_metrics(np.array([0, 1]), np.array([[1.0, 0.0], [0.0, 1.0]]))
    for name, greater in GREATER_IS_BETTER.items():
        assert perfect[name] == (1 if greater else 0), name


def test_what_the_rows_do_not_define_is_none() -> None:
    none = classification_metrics(np.zeros(0, int), np.zeros((0, 3)))
    assert none == dict.fromkeys(METRICS)
    negatives = classification_metrics(np.array([0, 0]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    assert [negatives[name] for name in ("auroc", "average_precision", "f1_score", "accuracy")] == [None, None, None, 1]
    positives = classification_metrics(np.array([1, 1]), np.array([[0.9, 0.1], [0.2, 0.8]]))
    assert [positives[name] for name in ("auroc", "average_precision")] == [None, None]
    assert positives["f1_score"] == pytest.approx(2 / 3)
    one_of_three = classification_metrics(np.array([2]), np.array([[0.1, 0.2, 0.7]]))
    assert [one_of_three[name] for name in ("auroc", "average_precision", "f1_score")] == [None, None, 1]


def test_of_equal_probabilities_the_lower_class_is_predicted() -> None:
    assert confusion_matrix(np.array([0, 1, 1]), np.full((3, 2), 0.5)).tolist() == [[1, 0], [2, 0]]
    assert classification_metrics(np.array([0, 1, 1]), np.full((3, 2), 0.5))["f1_score"] == 0


def test_log_loss_is_that_of_float64_rows_that_sum_to_one() -> None:
    probabilities = np.array([[0.2, 0.7995], [0.6, 0.4002]], dtype=np.float32)
    found = classification_metrics(np.array([1, 0]), probabilities)["log_loss"]
    exact = probabilities.astype(np.float64)
    exact /= exact.sum(axis=1, keepdims=True)
    assert found == pytest.approx(-np.log([exact[0, 1], exact[1, 0]]).mean(), rel=1e-12)


def test_a_true_class_scored_zero_has_a_large_finite_log_loss() -> None:
    found = classification_metrics(np.array([0, 1]), np.array([[0, 1], [0, 1]], np.float32))
    assert found["log_loss"] == pytest.approx(-math.log(np.finfo(np.float64).eps) / 2)
    json.dumps(found, allow_nan=False)


def test_figures_of_each_class() -> None:
    y_true = np.array([0, 0, 1])
    probabilities = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5], [0.3, 0.6, 0.1]])
    found = per_class_metrics(y_true, probabilities, ["a", "b", "c"])
    ap = 0.5 * 1 + 0.5 * 2 / 3
    assert list(found) == ["a", "b", "c"]
    assert found["a"] == pytest.approx(
        {"support": 2, "precision": 1, "recall": 0.5, "f1": 2 / 3, "auroc": 0.5, "average_precision": ap}
    )
    assert found["b"] == {"support": 1, "precision": 1, "recall": 1, "f1": 1, "auroc": 1, "average_precision": 1}
    absent = {"support": 0, "precision": 0, "recall": None, "f1": 0, "auroc": None, "average_precision": None}
    assert found["c"] == absent


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
        ([0, 2], [[0.5, 0.5], [0.5, 0.5]], "Row 1 has class index 2"),
        ([-1], [[0.5, 0.5]], "class index -1"),
        ([0, 1], [[0.5, 0.5], [float("nan"), 0.5]], "1 row, first in row 1"),
        ([0], [[float("inf"), 0.5]], "NaN or infinite"),
        ([0], [[0.5, 0.502]], "sum to 1"),
        ([0], [[2.0, -1.0]], "not logits"),
    ],
)
def test_input_that_is_no_scores_is_refused_and_named(y_true: Any, probabilities: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        classification_metrics(np.array(y_true), np.array(probabilities))
    assert isinstance(caught.value, ScoresError)
    assert "Fix:" in str(caught.value)


def test_rows_may_miss_a_sum_of_one_by_a_thousandth() -> None:
    check_scores(np.array([0]), np.array([[0.5, 0.5009]]))


# --- calibration


def test_calibration_error_by_hand() -> None:
    probability = np.array([0.1, 0.3, 0.6, 0.9])
    outcome = np.array([False, True, True, True])
    found = reliability(probability, outcome, np.array([0, 0.5, 1]))
    assert found.rows == [2, 2]
    assert found.mean_probability == pytest.approx([0.2, 0.75])
    assert found.observed_rate == [0.5, 1]
    assert (found.lower, found.upper) == ([0, 0.5], [0.5, 1])
    assert found.expected_calibration_error == pytest.approx(0.5 * 0.3 + 0.5 * 0.25)


def test_a_probability_on_an_edge_is_in_the_lower_bin() -> None:
    assert reliability(np.array([0.5, 0.0, 1.0]), np.ones(3, bool), np.array([0, 0.5, 1])).rows == [2, 1]


def test_a_probability_that_means_what_it_says_has_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(100_000)
    honest = calibration((rng.random(100_000) < p).astype(int), np.stack([1 - p, p], axis=1))
    boasting = calibration((rng.random(100_000) < 0.5 + (p - 0.5) / 2).astype(int), np.stack([1 - p, p], axis=1))
    assert honest.of == "positive_class"
    assert honest.equal_width is not None
    assert honest.equal_mass is not None
    assert boasting.equal_width is not None
    assert boasting.equal_mass is not None
    assert honest.equal_width.expected_calibration_error < 0.01
    assert honest.equal_mass.expected_calibration_error < 0.01
    assert boasting.equal_width.expected_calibration_error == pytest.approx(0.125, abs=0.01)
    assert boasting.equal_mass.expected_calibration_error == pytest.approx(0.125, abs=0.01)
    assert max(honest.equal_mass.rows) - min(honest.equal_mass.rows) <= 1


def test_many_classes_are_calibrated_by_the_predicted_class() -> None:
    found = calibration(np.array([0, 2]), np.array([[0.8, 0.1, 0.1], [0.6, 0.2, 0.2]]))
    assert found.of == "predicted_class"
    assert found.equal_width
    assert found.equal_width.mean_probability == pytest.approx([0.6, 0.8])
    assert found.equal_width.observed_rate == [0, 1]


def test_calibration_does_not_depend_on_the_rows_order_even_with_equal_probabilities() -> None:
    rng = np.random.default_rng(0)
    p = rng.choice([0.0, 0.2, 0.2, 0.7, 1.0], size=1000)
    y_true, probabilities = rng.integers(0, 2, 1000), np.stack([1 - p, p], axis=1)
    order = np.argsort(y_true)
    first, second = calibration(y_true, probabilities), calibration(y_true[order], probabilities[order])
    assert first.equal_mass is not None
    assert second.equal_mass is not None
    assert first.equal_mass.rows == second.equal_mass.rows == np.unique(p, return_counts=True)[1].tolist()
    assert first.equal_mass.observed_rate == second.equal_mass.observed_rate


def test_bins_of_equal_probabilities_are_one_bin() -> None:
    assert reliability(np.full(9, 0.4), np.ones(9, bool), mass(np.full(9, 0.4), 15)).rows == [9]


# --- curves


def test_curves_run_from_end_to_end_in_few_points_and_keep_the_area() -> None:
    scored = draw(20_000, 2)
    found = curves(scored.y_true == 1, scored.probabilities[:, 1])
    assert found is not None
    roc, pr = found.roc, found.precision_recall
    assert len(roc.fpr) == len(roc.tpr) == len(roc.threshold) <= CURVE_POINTS
    assert (roc.fpr[0], roc.tpr[0], roc.fpr[-1], roc.tpr[-1]) == (0, 0, 1, 1)
    assert roc.threshold[0] is None
    assert all(a >= b for a, b in zip(roc.threshold[1:], roc.threshold[2:], strict=False))  # type: ignore[operator]
    auroc = classification_metrics(scored.y_true, scored.probabilities)["auroc"]
    assert sklearn.metrics.auc(roc.fpr, roc.tpr) == pytest.approx(auroc, abs=2e-3)
    assert len(pr.precision) == len(pr.recall) == len(pr.threshold) <= CURVE_POINTS
    assert (pr.recall[0], pr.recall[-1], pr.precision[-1], pr.threshold[-1]) == (1, 0, 1, None)


def test_each_point_of_a_curve_is_what_its_threshold_decides() -> None:
    scored = draw(3000, 3)
    positive, score = scored.y_true == 2, scored.probabilities[:, 2].astype(np.float64)
    found = curves(positive, score, points=20)
    assert found is not None
    for fpr, tpr, threshold in list(zip(found.roc.fpr, found.roc.tpr, found.roc.threshold, strict=True))[1:]:
        assert threshold is not None
        assert ((score >= threshold)[~positive].mean(), (score >= threshold)[positive].mean()) == (fpr, tpr)
    pr = found.precision_recall
    for precision, recall, threshold in list(zip(pr.precision, pr.recall, pr.threshold, strict=True))[:-1]:
        assert threshold is not None
        assert (positive[score >= threshold].mean(), (score >= threshold)[positive].mean()) == (precision, recall)
    for k, threshold in enumerate(found.counts.threshold):
        assert found.counts.true_positives[k] == (score >= threshold)[positive].sum()
        assert found.counts.false_positives[k] == (score >= threshold)[~positive].sum()
        assert found.counts.true_negatives[k] == (score < threshold)[~positive].sum()
        assert found.counts.false_negatives[k] == (score < threshold)[positive].sum()


def test_a_score_equal_to_a_threshold_is_positive() -> None:
    found = curves(np.array([True, False, True]), np.array([0.25, 0.25, 0.5]))
    assert found is not None
    assert (found.counts.threshold[25], found.counts.true_positives[25], found.counts.false_positives[25]) == (
        0.25,
        2,
        1,
    )
    assert (found.counts.true_positives[26], found.counts.false_positives[26]) == (1, 0)


def test_a_thinned_curve_keeps_its_ends_and_its_corner() -> None:
    x, y = (
        np.concatenate([np.zeros(500), np.linspace(0, 1, 500)]),
        np.concatenate([np.linspace(0, 1, 500), np.ones(500)]),
    )
    kept = thin(x, y, 11)
    assert (kept[0], kept[-1]) == (0, 999)
    assert len(kept) <= 11
    assert np.diff(x[kept] + y[kept]).max() == pytest.approx(0.2, abs=0.01)


def test_a_class_with_no_rows_or_all_of_them_has_no_curves() -> None:
    assert curves(np.zeros(3, bool), np.ones(3)) is None
    assert curves(np.ones(3, bool), np.ones(3)) is None
    evaluation = evaluate_split("val", draw(50, 5, present=[1, 3]), list("abcde"))
    assert sorted(evaluation.curves) == ["b", "d"]


# --- plots

NAMES = ["_costs $5 to $10 and\nis described at great length, to no end", "高兴", "plain", ""]
CASES = {
    "two": (draw(200, 2), [0, 1]),
    "two, one class only": (draw(50, 2, present=[1]), [False, True]),
    "three, awkward names": (draw(200, 4), NAMES),
    "forty, ten of them absent": (
        draw(2000, 40, present=list(range(30))),
        [f"class {k} of some length" for k in range(40)],
    ),
    "no rows": (ScoredSplit(np.zeros(0, int), np.zeros((0, 3), np.float32)), ["a", "b", "c"]),
}


@pytest.mark.parametrize("case", CASES)
def test_every_plot_is_drawn_without_a_warning(case: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = plots.draw(evaluate_split("val", *CASES[case]))
    assert sorted(drawn) == ["confusion_matrix", "precision_recall", "probabilities", "reliability", "roc"]
    for png in drawn.values():
        image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(image.shape) > 300
        assert (image < 128).sum() > 500


def test_a_plots_title_names_split_rows_and_metric() -> None:
    evaluation = evaluate_split("val", draw(1500, 3), ["a", "b", "c"])
    (axes,) = plots.roc(evaluation).axes
    assert axes.get_title() == f"val: 1,500 rows, macro AUROC {evaluation.metrics['auroc']:.3f}"
    (axes,) = plots.precision_recall(evaluate_split("test", draw(9, 2, present=[0]), [0, 1])).axes
    assert axes.get_title() == "test: 9 rows, average precision undefined"


def test_a_legend_of_forty_classes_names_the_most_frequent_and_no_more() -> None:
    figure = plots.roc(evaluate_split("val", *CASES["forty, ten of them absent"]))
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(plots.COLORS) + 1
    assert legend.get_title().get_text() == "20 of 40 classes"
    assert all(len(text.get_text()) < 40 for text in legend.get_texts())


def test_dollar_signs_in_a_classes_name_are_no_mathematics() -> None:
    (legend,) = plots.roc(evaluate_split("val", draw(50, 3), ["$5 to $10", "less", "more"])).legends
    text = legend.get_texts()[0].get_text()
    assert not matplotlib.cbook.is_math_text(text)
    assert text.endswith(r"\$5 to \$10")


def test_a_thousand_and_one_classes_have_no_confusion_matrix() -> None:
    evaluation = evaluate_split("val", draw(20, 1001), list(range(1001)))
    assert evaluation.confusion is None
    assert evaluation.as_json()["confusion_matrix"] is None


def test_importing_and_plotting_touch_neither_torch_nor_pyplot_nor_the_backend() -> None:
    code = (
        "import sys, numpy as np, matplotlib\n"
        "matplotlib.use('svg')\n"
        "from fusionzoo.evaluation import plots, report, split_evaluation\n"
        "scored = split.Scored(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]))\n"
        "assert plots.draw(split.evaluate_split('val', scored, [0, 1]))\n"
        "assert matplotlib.get_backend() == 'svg'\n"
        "print(sorted({'torch', 'matplotlib.pyplot', 'tensorboard'} & sys.modules.keys()))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr


# --- the report


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, Path]:
    """A report of two splits, three classes, written twice into one folder."""
    folder = tmp_path_factory.mktemp("report")
    report = evaluate({"val": draw(300, 3), "test": draw(100, 3, seed=1, present=[0, 2])}, ["low", "mid", "high"])
    evaluate({}, ["no", "yes"]).write(folder)
    report.write(folder, extra={"training": {"epochs": 3}})
    return report, folder


def test_metrics_json_holds_every_split_the_classes_and_what_the_job_adds(written: tuple[Report, Path]) -> None:
    report, folder = written
    found = json.loads((folder / "metrics.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert sorted(found) == ["classes", "splits", "training"]
    assert found["classes"] == ["low", "mid", "high"]
    assert found["training"] == {"epochs": 3}
    val, test = found["splits"]["val"], found["splits"]["test"]
    assert sorted(val) == ["calibration", "confusion_matrix", "curves", "metrics", "per_class", "rows"]
    assert (val["rows"], test["rows"]) == (300, 100)
    assert val["metrics"] == report.metrics("val")
    assert sum(map(sum, val["confusion_matrix"])) == 300
    assert test["per_class"]["mid"]["auroc"] is None
    assert sorted(test["curves"]) == ["high", "low"]
    assert (folder / "metrics.json").read_text("utf-8").index('"calibration"') < 200


def test_numbers_in_tensorboard_and_metrics_json_agree(written: tuple[Report, Path]) -> None:
    _, folder = written
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
    found = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    assert found == {tag: float(np.float32(value)) for tag, value in expected.items()}
    for name, split in splits.items():
        for label, of_class in split["curves"].items():
            (event,) = events.Tensors(f"{name}/pr/{label}")
            tensor = np.array(event.tensor_proto.float_val).reshape(6, 101)
            counts = of_class["counts"]
            columns = ("true_positives", "false_positives", "true_negatives", "false_negatives")
            assert tensor[:4].tolist() == [counts[column] for column in columns]
            recall = np.array(counts["true_positives"]) / split["per_class"][label]["support"]
            assert tensor[5] == pytest.approx(recall, abs=1e-6)
    assert len(events.Tags()["tensors"]) == 3 + 2


def test_plots_in_tensorboard_are_the_png_files(written: tuple[Report, Path]) -> None:
    _, folder = written
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
def test_labels_of_every_type_stand_in_metrics_json(classes: list[Any]) -> None:
    found = json.loads(strict_json(evaluate({"val": draw(20, 2)}, classes).as_json()))
    assert found["classes"] == classes
    assert [type(label) for label in found["classes"]] == [type(label) for label in classes]
    assert len(found["splits"]["val"]["per_class"]) == 2


def test_labels_that_are_too_few_or_read_the_same_are_refused() -> None:
    with pytest.raises(ScoresError, match="3 labels, but probabilities of 2"):
        evaluate({"val": draw(20, 2)}, ["a", "b", "c"])
    with pytest.raises(ScoresError, match="one text: '1'"):
        evaluate({"val": draw(20, 2)}, ["1", 1])


def test_an_extra_entry_may_not_hide_the_reports_own_nor_hold_nan(tmp_path: Path) -> None:
    report = evaluate({"val": draw(20, 2)}, [0, 1])
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
