"""Plots of one split of a multilabel classification as PNG bytes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fusionzoo.evaluation.curves import Curves
from fusionzoo.evaluation.multilabel_evaluation import MultilabelEvaluation
from fusionzoo.evaluation.plot_parts import (
    COLORS,
    DOTS_PER_INCH,
    draw_reliability_diagram,
    encode_png,
    format_named_metric,
    format_title,
    mark_empty,
)
from fusionzoo.evaluation.plot_text import format_class

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
    shown = split.by_frequency()[:MAX_BAR_LABELS]
    figure = Figure(figsize=(6.8, 1.7 + INCHES_PER_LABEL * max(len(shown), 2)), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    of_all = "" if len(shown) == len(split.labels) else f", {len(shown)} of {len(split.labels)} labels"
    axes.set_title(format_title(split, format_named_metric("macro F1", split.metrics["f1_score"]) + of_all))
    axes.set(xlim=(0, 1), xlabel="metric of the label")
    if not shown:
        axes.set_yticks([])
        mark_empty(axes, split, "no row has a label")
        return figure
    labels, places = [split.labels[k] for k in shown], np.arange(len(shown))
    for shift, (metric, text), color in zip(
        (-0.2, 0.2), (("average_precision", "average precision"), ("f1", "F1")), COLORS, strict=False
    ):
        values = [split.per_label[name][metric] for name in labels]
        heights = [np.nan if value is None else float(value) for value in values]
        axes.barh(places + shift, heights, 0.36, color=color, label=text)
    names = [
        f"{format_class(name, k)} ({split.per_label[name]['support']:,})" for k, name in zip(shown, labels, strict=True)
    ]
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
    macro = format_named_metric("macro average precision", split.metrics["average_precision"])
    axes.set_title(format_title(split, macro))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal", xlabel="recall", ylabel="precision")
    if split.micro is None:
        mark_empty(axes, split, "no row has a label")
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
    """Draw the reliability diagram of all labels together."""
    return draw_reliability_diagram(
        split,
        rate="fraction of pairs where the label applies",
        probability="probability of a label, all labels together",
        count="pairs of row\nand label",
    )


def _draw_curve(axes: Axes, curves: Curves, text: str, color: str) -> None:
    points = curves.precision_recall
    axes.plot(points.recall, points.precision, label=text, color=color, linewidth=1.6, drawstyle="steps-post")
