"""Plots: every class count and name, legends, titles, and the libraries that drawing uses."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
from typing import Any

import matplotlib.cbook
import numpy as np
import pytest
import sklearn.metrics
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image

from evaluation_helpers import VALIDATIONS, random_scores
from fusionzoo.evaluation import multilabel_plots, plot_parts, plots, regression_plots
from fusionzoo.evaluation.class_evaluation import evaluate_class_split
from fusionzoo.evaluation.learning_curve_plot import draw_learning_curve
from fusionzoo.evaluation.multilabel_evaluation import evaluate_multilabel_split
from fusionzoo.evaluation.plot_fitting import MIN_FONT_SIZE
from fusionzoo.evaluation.regression_evaluation import evaluate_regression_split
from fusionzoo.evaluation.regression_plots import PLOTS
from fusionzoo.evaluation.report import ScoredSplit
from plot_rendering import find_drawn_texts

pytestmark = pytest.mark.usefixtures("rendered_plots")


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
        images = plots.draw_plots(evaluate_class_split("val", *CASES[case]))
    names = ["confusion_matrix", "precision_recall", "probabilities", "reliability", "roc"]
    assert sorted(images) == names + ["thresholds"] * case.startswith("two")
    for png in images.values():
        image = np.asarray(Image.open(io.BytesIO(png)).convert("L"))
        assert min(image.shape) > 300
        assert (image < 128).sum() > 500


def test_the_title_of_a_plot_names_split_rows_and_metric() -> None:
    evaluation = evaluate_class_split("val", random_scores(1500, 3), ["a", "b", "c"])
    (axes,) = plots.draw_roc(evaluation).axes
    assert axes.get_title() == f"val: 1,500 rows, macro AUROC {evaluation.metrics['auroc']:.3f}"
    (axes,) = plots.draw_precision_recall(evaluate_class_split("test", random_scores(9, 2, present=[0]), [0, 1])).axes
    assert axes.get_title() == "test: 9 rows, average precision undefined"


def test_a_legend_of_forty_classes_names_only_the_most_frequent() -> None:
    legend = find_legend(plots.draw_roc(evaluate_class_split("val", *CASES["forty, ten of them absent"])))
    assert len(legend.get_texts()) == len(plot_parts.COLORS) + 2, "the colored classes, the others, and the baseline"
    assert legend.get_title().get_text() == "20 of 40 classes"
    assert all(len(text.get_text()) < 40 for text in legend.get_texts())


def test_dollar_signs_in_a_class_name_are_not_math() -> None:
    legend = find_legend(
        plots.draw_roc(evaluate_class_split("val", random_scores(50, 3), ["$5 to $10", "less", "more"]))
    )
    text = legend.get_texts()[0].get_text()
    assert not matplotlib.cbook.is_math_text(text)
    assert text.endswith(r"\$5 to \$10")


@pytest.mark.parametrize("case", CASES)
def test_every_legend_is_inside_its_axes(case: str) -> None:
    evaluation = evaluate_class_split("val", *CASES[case], "multimodal_bert, label dispute")
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
    evaluation = evaluate_class_split("val", *CASES[case], "multimodal_bert, label $ of_dispute")
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
    figure = plots.draw_probabilities(evaluate_class_split("val", *CASES["forty, ten of them absent"]))
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == plot_parts.MAX_PANELS
    assert len({(*axes.get_xlim(), *axes.get_ylim()) for axes in panels}) == 1
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("probability of the class", "fraction of the rows")


def test_the_baseline_of_precision_and_recall_is_the_rate_of_the_class() -> None:
    scored = random_scores(200, 2)
    legend = find_legend(plots.draw_precision_recall(evaluate_class_split("val", scored, ["no", "yes"])))
    texts = [text.get_text() for text in legend.get_texts()]
    assert f"{(scored.labels == 1).mean():.3f}  random: the rate of the class" in texts
    assert any(text.endswith("  yes") for text in texts)


def test_a_confusion_matrix_states_rows_and_percentages_of_the_true_class() -> None:
    probabilities = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.1, 0.9, 0]], np.float32)
    evaluation = evaluate_class_split(
        "val", ScoredSplit(np.array([0, 0, 0, 0, 1]), probabilities), ["a", "b", "absent"]
    )
    assert evaluation.confusion is not None
    figure = plots.draw_confusion_matrix(evaluation, evaluation.confusion)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["3\n75%", "1\n25%", "0\n0%", "0\n0%", "1\n100%", "0\n0%", "0", "0", "0"]


def test_a_thousand_and_one_classes_have_no_confusion_matrix() -> None:
    evaluation = evaluate_class_split("val", random_scores(20, 1001), list(range(1001)))
    assert evaluation.confusion is None
    assert evaluation.as_json()["confusion_matrix"] is None


def test_plotting_uses_neither_torch_nor_pyplot_and_keeps_the_backend() -> None:
    code = (
        "import sys, numpy as np, matplotlib\n"
        "matplotlib.use('svg')\n"
        "from fusionzoo.evaluation import class_evaluation, plots, report, split_evaluation\n"
        "scored = split_evaluation.ScoredSplit(np.array([0, 1]), np.array([[0.9, 0.1], [0.3, 0.7]]))\n"
        "assert plots.draw_plots(class_evaluation.evaluate_class_split('val', scored, [0, 1]))\n"
        "assert matplotlib.get_backend() == 'svg'\n"
        "print(sorted({'torch', 'matplotlib.pyplot', 'tensorboard'} & sys.modules.keys()))\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "[]", run.stderr


def test_the_threshold_plot_shows_the_metrics_of_its_thresholds() -> None:
    evaluation = evaluate_class_split("val", random_scores(200, 2), ["no", "yes"])
    (axes,) = plots.draw_thresholds(evaluation).axes
    lines = {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in axes.get_lines()}
    y_true, score = evaluation.scored.labels, evaluation.scored.scores[:, 1]
    for threshold in (0, 30, 50, 80):
        predicted = score >= threshold / 100
        for name, metric in (
            ("precision", sklearn.metrics.precision_score),
            ("recall", sklearn.metrics.recall_score),
            ("F1", sklearn.metrics.f1_score),
        ):
            assert lines[name][threshold] == pytest.approx(metric(y_true, predicted))
    assert lines["F1"][50] == pytest.approx(evaluation.metrics["f1_score"])
    assert np.isnan(lines["precision"][-1]), "no row is predicted"
    best = int(lines["F1"].argmax())
    assert f"best F1: {lines['F1'][best]:.3f} at {best / 100:.3g}" in lines


def test_the_learning_curve_shows_each_validation_and_the_best_one() -> None:
    figure = draw_learning_curve(VALIDATIONS, "val/auroc", 20, "multimodal_bert, label y")
    losses, metric = figure.axes
    assert losses.get_title() == "multimodal_bert, label y\nbest val/auroc 0.9000 in epoch 2, step 20"
    shown = {str(line.get_label()): [list(map(float, values)) for values in line.get_data()] for line in losses.lines}
    assert shown["train"] == [[10, 20, 30], [0.7, 0.5, 0.3]]
    assert shown["val"] == [[10, 20, 30], [0.6, 0.5, 0.8]]
    assert shown["best validation"][0] == [20, 20]
    assert list(metric.lines[0].get_ydata()) == [0.6, 0.9, 0.8]
    assert (metric.get_xlabel(), losses.get_ylabel(), metric.get_ylabel()) == ("step", "loss", "val/auroc")


def test_the_learning_curve_of_val_loss_has_one_panel_and_one_validation_is_enough() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = draw_learning_curve(VALIDATIONS[:1], "val_loss", 10)
        assert plot_parts.encode_png(figure)
    assert len(figure.axes) == 1


HEADINGS = {
    "realistic": "multimodal_gate_fusion, label customer_requested_refund_within_30d",
    "capitals": "multimodal_gate_fusion, label CUSTOMER_REQUESTED_REFUND_WITHIN_30D",
    "widest": "$W" * 40,
}


def draw_all_plots(heading: str) -> dict[str, Figure]:
    """Return each kind of plot, with class names, labels and targets of wide capitals."""
    names = [f"{'W' * 30}{k}" for k in range(12)]
    figures = {"learning curve": draw_learning_curve(VALIDATIONS, "val/auroc", 20, heading)}
    for count in (2, 12):
        split = evaluate_class_split("val", random_scores(300, count), names[:count], heading)
        assert split.confusion is not None
        figures[f"{count} classes, matrix"] = plots.draw_confusion_matrix(split, split.confusion)
        draws = [plots.draw_roc, plots.draw_precision_recall, plots.draw_reliability, plots.draw_probabilities]
        for draw in [*draws, *([plots.draw_thresholds] if count == 2 else [])]:
            figures[f"{count} classes, {draw.__name__}"] = draw(split)
    rng = np.random.default_rng(0)
    scored = ScoredSplit(rng.integers(0, 2, (60, 12)), rng.random((60, 12), np.float32))
    multilabel = evaluate_multilabel_split("val", scored, names, heading)
    figures["label metrics"] = multilabel_plots.draw_label_metrics(multilabel)
    figures["labels, precision and recall"] = multilabel_plots.draw_precision_recall(multilabel)
    figures["labels, reliability"] = multilabel_plots.draw_reliability(multilabel)
    for count in (1, 4):
        numbers = rng.normal(size=(60, count)) * 1e6
        regression = evaluate_regression_split("val", numbers, numbers * 0.9, names[:count], heading)
        figures[f"{count} targets"] = regression_plots.draw_panels(regression, PLOTS["predicted_against_true"])
    return figures


@pytest.mark.parametrize("heading", ["realistic", "widest"])
def test_no_text_of_a_plot_leaves_the_canvas(heading: str) -> None:
    for name, figure in draw_all_plots(HEADINGS[heading]).items():
        width, height = figure.bbox.size
        for text, box in find_drawn_texts(figure):
            where = f"{name}: {text.get_text()!r}"
            assert box.x0 > -1, where
            assert box.y0 > -1, where
            assert box.x1 < width + 1, where
            assert box.y1 < height + 1, where


def test_the_titles_of_neighboring_panels_do_not_overlap() -> None:
    figures = draw_all_plots("model, label y")
    for name in ("12 classes, draw_probabilities", "4 targets"):
        figure = figures[name]
        titles = {axes.title for axes in figure.axes}
        boxes = [box for text, box in find_drawn_texts(figure) if text in titles]
        assert len(boxes) == min(plot_parts.MAX_PANELS, int(name.split()[0]))
        assert not any(boxes[i].overlaps(box) for i in range(len(boxes)) for box in boxes[:i]), name


def test_a_title_that_fits_keeps_its_size_and_a_long_one_becomes_smaller_before_it_is_shortened() -> None:
    sizes = {}
    for heading in ("model, label y", HEADINGS["capitals"], "W" * 50):
        split = evaluate_class_split("val", random_scores(50, 2), ["no", "yes"], heading)
        figure = plots.draw_roc(split)
        before = figure.axes[0].get_title()
        plot_parts.encode_png(figure)
        title = figure.axes[0].title
        sizes[heading] = float(title.get_fontsize())
        assert title.get_text() == before
    assert sizes["model, label y"] == 12
    assert MIN_FONT_SIZE <= sizes["W" * 50] < sizes[HEADINGS["capitals"]] < 12


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("rows", [40, 600])
@pytest.mark.parametrize("outlier", [-1e7, 10.0])
def test_extreme_outliers_of_a_regression_do_not_hide_the_other_rows(name: str, rows: int, outlier: float) -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(10, 3, (rows, 1))
    predicted = true + rng.normal(0, 1, (rows, 1))
    true[5], predicted[7] = 5e6, outlier
    figure = regression_plots.draw_panels(evaluate_regression_split("val", true, predicted, ["y"], "m"), PLOTS[name])
    (axes,) = figure.axes
    for low, high in (axes.get_xlim(), axes.get_ylim()):
        assert -20 < low < high < 40
    outside = "2 rows" if outlier < 0 else "1 row"
    assert f"{outside} outside the axes" in figure.get_suptitle()


@pytest.mark.parametrize(
    "values",
    [[1.0, 2.0, 3.0], [0.0] * 30 + [1e9], [], np.random.default_rng(0).normal(size=2000), np.linspace(0, 1, 100) ** 2],
    ids=["few", "constant", "none", "normal", "squares"],
)
def test_axes_without_extreme_outliers_show_every_row(values: Any) -> None:
    assert regression_plots.find_limits(np.asarray(values, float)) is None


def test_each_panel_says_how_many_rows_are_outside_its_axes() -> None:
    true = np.random.default_rng(0).normal(size=(100, 2))
    true[3, 1] = 1e6
    split = evaluate_regression_split("val", true, true * 0.9, ["first", "second"], "m")
    figure = regression_plots.draw_panels(split, PLOTS["residuals"])
    assert [axes.get_title() for axes in figure.axes] == ["first", "second\n1 row outside the axes"]


def test_a_class_with_one_row_has_a_singular_title() -> None:
    scores = np.full((4, 3), 1 / 3)
    figure = plots.draw_probabilities(evaluate_class_split("val", ScoredSplit(np.array([0, 1, 1, 2]), scores), "abc"))
    assert [axes.get_title() for axes in figure.axes[:3]] == ["a (1 row)", "b (2 rows)", "c (1 row)"]
