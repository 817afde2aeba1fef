"""Plots of one split of a multilabel classification as PNG bytes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fusionzoo.evaluation.calibration import Reliability
from fusionzoo.evaluation.curves import Curves
from fusionzoo.evaluation.multilabel_evaluation import MultilabelEvaluation, order_by_frequency
from fusionzoo.evaluation.plot_text import add_heading, escape_dollars, format_class
from fusionzoo.evaluation.plots import BASELINE, COLORS, DOTS_PER_INCH, encode_png

MAX_BAR_LABELS = 30
INCHES_PER_LABEL = 0.34
MICRO_COLOR = "#000000"
LABEL_COLORS = tuple(color for color in COLORS if color != MICRO_COLOR)


def draw_multilabel_plots(split: MultilabelEvaluation) -> dict[str, bytes]:
    """Return PNG bytes by name: label_metrics, precision_recall, reliability."""
    figures = {
        "label_metrics": draw_label_metrics(split),
        "precision_recall": draw_precision_recall(split),
        "reliability": draw_reliability(split),
    }
    return {name: encode_png(figure) for name, figure in figures.items()}


def draw_label_metrics(split: MultilabelEvaluation) -> Figure:
    """Draw average precision and F1 of the most frequent labels as bars, with the number of rows of each."""
    shown = order_by_frequency(split.scored.labels)[:MAX_BAR_LABELS]
    figure = Figure(figsize=(6.8, 1.7 + INCHES_PER_LABEL * max(len(shown), 2)), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    of_all = "" if len(shown) == len(split.labels) else f", {len(shown)} of {len(split.labels)} labels"
    axes.set_title(_format_title(split, f"{_format_metric('macro F1', split.metrics['f1_score'])}{of_all}"))
    axes.set(xlim=(0, 1), xlabel="metric of the label")
    if not shown:
        axes.set_yticks([])
        _mark_empty(axes, split)
        return figure
    places = np.arange(len(shown))
    for shift, (metric, text), color in zip(
        (-0.2, 0.2), (("average_precision", "average precision"), ("f1", "F1")), COLORS, strict=False
    ):
        values = [split.per_label[split.labels[k]][metric] for k in shown]
        heights = [np.nan if value is None else float(value) for value in values]
        axes.barh(places + shift, heights, 0.36, color=color, label=text)
    names = [f"{format_class(split.labels[k], k)} ({_support(split, k):,})" for k in shown]
    axes.set_yticks(places, names, fontsize=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)  # the most frequent label is at the top
    axes.set_ylabel("label (rows)")
    axes.grid(axis="x", color="#E0E0E0", linewidth=0.6)
    axes.set_axisbelow(True)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    return figure


def draw_precision_recall(split: MultilabelEvaluation) -> Figure:
    """Draw precision against recall of all pairs of a row and a label, and of each of the most frequent labels."""
    figure = Figure(figsize=(5.4, 5.4), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    macro = _format_metric("macro average precision", split.metrics["average_precision"])
    axes.set_title(_format_title(split, macro))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel="recall", ylabel="precision")
    if split.micro is None:
        _mark_empty(axes, split)
        return figure
    _draw_curve(axes, split.micro, f"{split.metrics['average_precision_micro']:.3f}  all labels (micro)", MICRO_COLOR)
    for name, color in zip(split.curves, LABEL_COLORS, strict=False):
        value = split.per_label[name]["average_precision"]
        _draw_curve(axes, split.curves[name], f"{value:.3f}  {format_class(name, split.labels.index(name))}", color)
    shown = min(len(split.curves), len(LABEL_COLORS))
    heading = f"{shown} of {len(split.labels)} labels" if shown < len(split.labels) else ""
    axes.legend(loc="lower left", fontsize=8, title=heading, title_fontsize=8)
    return figure


def draw_reliability(split: MultilabelEvaluation) -> Figure:
    """Draw the observed rate against the mean probability per bin, of all labels, and below it the pairs per bin."""
    width, mass = split.equal_width, split.equal_mass
    figure = Figure(figsize=(5.6, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    error = None if width is None else width.expected_calibration_error
    upper.set_title(_format_title(split, _format_metric("calibration error", error)))
    upper.plot([0, 1], [0, 1], label="perfect", **BASELINE)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel="fraction of pairs where the label applies")
    lower.set(xlabel="probability of a label, all labels together", ylabel="pairs of row\nand label")
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if width is None or mass is None:
        _mark_empty(upper, split)
        return figure
    for bins, name, color, marker in ((width, "width", COLORS[0], "o"), (mass, "mass", COLORS[1], "s")):
        _draw_bins(upper, bins, name, color, marker)
    upper.legend(loc="upper left", fontsize=8)
    sizes = np.array(width.upper) - np.array(width.lower)
    lower.bar(width.lower, width.rows, sizes, align="edge", color=COLORS[0], edgecolor="white", linewidth=0.5)
    return figure


def _draw_curve(axes: Axes, curves: Curves, text: str, color: str) -> None:
    points = curves.precision_recall
    axes.plot(points.recall, points.precision, label=text, color=color, linewidth=1.6, drawstyle="steps-post")


def _draw_bins(axes: Axes, bins: Reliability, name: str, color: str, marker: str) -> None:
    text = f"{bins.expected_calibration_error:.4f}  bins of equal {name}"
    axes.plot(bins.mean_probability, bins.observed_rate, color=color, marker=marker, markersize=4, label=text)


def _support(split: MultilabelEvaluation, label: int) -> int:
    return int((split.scored.labels[:, label] == 1).sum())


def _mark_empty(axes: Axes, split: MultilabelEvaluation) -> None:
    text = "no row has a label" if split.rows else "no rows"
    axes.text(0.5, 0.5, text, ha="center", va="center", color="#606060", transform=axes.transAxes)


def _format_title(split: MultilabelEvaluation, metric: str) -> str:
    rows = "1 row" if split.rows == 1 else f"{split.rows:,} rows"
    return add_heading(split.heading, f"{escape_dollars(split.name)}: {rows}, {metric}")


def _format_metric(name: str, value: float | None) -> str:
    return f"{name} undefined" if value is None else f"{name} {value:.3f}"
