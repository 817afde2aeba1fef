"""Plots of one split of a classification as PNG bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.class_evaluation import ClassEvaluation
from fusionzoo.evaluation.label_decision import THRESHOLD
from fusionzoo.evaluation.plot_parts import (
    BASELINE,
    COLORS,
    DOTS_PER_INCH,
    LIGHT_GRAY,
    MAX_PANELS,
    draw_reliability_diagram,
    encode_png,
    format_named_metric,
    format_title,
    mark_empty,
)
from fusionzoo.evaluation.plot_text import format_class, measure_inches

ROWS_OF_A_CLASS = ("other rows", "rows of the class")
MAX_NUMBERED_CLASSES = 12
MAX_NAMED_CLASSES = 60
TICK_INCHES = 0.15  # from the end of a name to the axes


def draw_plots(split: ClassEvaluation) -> dict[str, bytes]:
    """Return PNG bytes by name: roc, precision_recall, reliability, confusion_matrix, probabilities, thresholds.

    Without rows, or with only one class, the axes state why they are empty. There is no confusion matrix if the
    evaluation has none. Only two classes have `thresholds`.
    """
    figures = {
        "roc": draw_roc(split),
        "precision_recall": draw_precision_recall(split),
        "reliability": draw_reliability(split),
        "probabilities": draw_probabilities(split),
    }
    if split.confusion is not None:
        figures["confusion_matrix"] = draw_confusion_matrix(split, split.confusion)
    if len(split.classes) == 2:
        figures["thresholds"] = draw_thresholds(split)
    return {name: encode_png(figure) for name, figure in figures.items()}


def draw_roc(split: ClassEvaluation) -> Figure:
    """Draw the true against the false positive rate, one line per class."""
    figure, axes = _create_square_figure(split, _format_average(split, "auroc", "AUROC"))
    axes.plot([0, 1], [0, 1], label="random", **BASELINE)

    def points(name: str) -> tuple[list[float], list[float]]:
        return split.curves[name].roc.fpr, split.curves[name].roc.tpr

    _draw_lines(axes, split, "auroc", points, drawstyle="default", legend="lower right")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return figure


def draw_precision_recall(split: ClassEvaluation) -> Figure:
    """Draw precision against recall, one line per class. With two classes, a dotted line is the rate of positives."""
    figure, axes = _create_square_figure(split, _format_average(split, "average_precision", "average precision"))
    if len(split.classes) == 2 and split.curves:
        rate = float((split.y_true == 1).mean())
        axes.axhline(rate, label=f"{rate:.3f}  random: the rate of the class", **BASELINE)

    def points(name: str) -> tuple[list[float], list[float]]:
        return split.curves[name].precision_recall.recall, split.curves[name].precision_recall.precision

    _draw_lines(axes, split, "average_precision", points, drawstyle="steps-post", legend="lower left")
    axes.set(xlabel="recall", ylabel="precision")
    return figure


def draw_reliability(split: ClassEvaluation) -> Figure:
    """Draw the reliability diagram of class 1 of two, or of the predicted class of more."""
    if split.calibration.of == "predicted_class":
        rate, probability = "fraction of correct predictions", "probability of the predicted class"
    else:
        name = format_class(split.classes[1], 1)
        rate, probability = f"fraction of rows of class {name}", f"probability of class {name}"
    return draw_reliability_diagram(split, rate, probability, "rows")


def draw_confusion_matrix(split: ClassEvaluation, counts: NDArray[np.int64]) -> Figure:
    """Draw true against predicted class. Color is the fraction of the true class.

    With few classes, each cell states its rows and the percentage of the true class.
    """
    classes = len(split.classes)
    side = min(max(4.0, 0.55 * classes if classes <= MAX_NUMBERED_CLASSES else 0.2 * classes), 11)
    step = -(-classes // MAX_NAMED_CLASSES)
    ticks = range(0, classes, step)
    names = [format_class(split.classes[k], k) for k in ticks]
    height = 9 if classes <= MAX_NUMBERED_CLASSES else 7
    letters = max(measure_inches(name, height) for name in names) + TICK_INCHES
    is_rotated = letters > side / classes
    size = (side + 1.8 + letters, side + 1.0 + (letters if is_rotated else 0))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="fraction of the true class", shrink=0.8)
    axes.set_title(format_title(split, format_named_metric("accuracy", split.metrics["accuracy"])))
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_xticks(ticks, names, rotation=90 if is_rotated else 0, fontsize=height)
    axes.set_yticks(ticks, names, fontsize=height)
    if classes <= MAX_NUMBERED_CLASSES:
        for true, predicted in np.ndindex(counts.shape):
            text_color = "white" if share[true, predicted] > 0.55 else "black"
            rows = f"{counts[true, predicted]:,}"
            text = f"{rows}\n{share[true, predicted]:.0%}" if support[true] else rows
            axes.text(predicted, true, text, ha="center", va="center", color=text_color, fontsize=9 - len(rows) // 3)
    return figure


def draw_probabilities(split: ClassEvaluation) -> Figure:
    """Draw histograms of the probability of a class, for its rows and for all other rows.

    Two classes: one panel, for class 1. More: one panel for each of the `MAX_PANELS` most frequent classes.
    """
    is_binary = len(split.classes) == 2
    shown = [1] if is_binary else sorted(split.by_frequency()[:MAX_PANELS])
    columns = min(len(shown), 3) or 1
    lines = -(-len(shown) // columns) or 1
    size = (6.4, 4.6) if columns == 1 else (3.0 * columns + 0.4, 2.3 * lines + 0.9)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    panels: list[Axes] = list(figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True).flat)
    of_all = "" if len(shown) in (1, len(split.classes)) else f", {len(shown)} of {len(split.classes)} classes"
    log_loss = format_named_metric("log-loss", split.metrics["log_loss"])
    figure.suptitle(format_title(split, log_loss + of_all), fontsize="large")
    for panel in panels[max(len(shown), 1) :]:
        panel.set_visible(False)
    handles: list[Artist] = []
    names = [format_class(name, i) for i, name in enumerate(split.classes)] if is_binary else list(ROWS_OF_A_CLASS)
    for k, axes in zip(shown, panels, strict=False):
        is_true_class = split.y_true == k
        handles = _draw_histogram(axes, split.probabilities[:, k], is_true_class)
        if not is_binary:
            rows = pluralize(int(is_true_class.sum()), "row")
            axes.set_title(f"{format_class(split.classes[k], k)} ({rows})", fontsize=9)
    figure.supxlabel(f"probability of class {names[1]}" if is_binary else "probability of the class", fontsize="medium")
    figure.supylabel("fraction of the rows", fontsize="medium")
    if not split.rows or not shown:
        mark_empty(panels[0], split, "one class only")
    elif handles:
        panels[0].legend(handles, names, loc="upper center", fontsize=8 if is_binary else 6)
    return figure


def draw_thresholds(split: ClassEvaluation) -> Figure:
    """Draw precision, recall and F1 of class 1 against the threshold of its probability, for two classes.

    Precision has no value at thresholds above all probabilities.
    """
    figure = Figure(figsize=(6.4, 4.6), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    name, chosen = format_class(split.classes[1], 1), THRESHOLD if split.rule is None else split.rule.thresholds[0]
    f1_score = format_named_metric("F1", split.metrics["f1_score"])
    axes.set_title(format_title(split, f"{f1_score} at threshold {chosen:.3g}"))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set(xlabel=f"threshold: predict class {name} from this probability", ylabel=f"metric of class {name}")
    if not split.curves:
        mark_empty(axes, split, "one class only")
        return figure
    counts = next(iter(split.curves.values())).counts
    threshold, hits = np.array(counts.threshold), np.array(counts.true_positives)
    predicted, actual = hits + counts.false_positives, hits + counts.false_negatives
    precision = np.divide(hits, predicted, out=np.full(len(hits), np.nan), where=predicted > 0)
    f1 = 2 * hits / (predicted + actual)
    axes.axvline(chosen, label=f"threshold of predictions: {chosen:.3g}", **BASELINE)
    lines = (("precision", precision, "-"), ("recall", hits / actual, "--"), ("F1", f1, "-"))
    for (label, values, style), color in zip(lines, COLORS, strict=False):
        axes.plot(threshold, values, label=label, color=color, linestyle=style, linewidth=1.6)
    best = int(f1.argmax())
    text = f"best F1: {f1[best]:.3f} at {threshold[best]:.3g}"
    axes.plot(threshold[best], f1[best], "o", color=COLORS[2], markersize=6, label=text, linestyle="none")
    axes.legend(fontsize=8)
    return figure


def _create_square_figure(split: ClassEvaluation, metric: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.4, 5.4), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    axes.set_title(format_title(split, metric))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _draw_lines(
    axes: Axes,
    split: ClassEvaluation,
    metric: str,
    points: Callable[[str], tuple[Sequence[float], Sequence[float]]],
    *,
    drawstyle: str,
    legend: Literal["lower left", "lower right"],
) -> None:
    """Draw a colored line for each of the most frequent classes, gray lines for the others, and a legend.

    The legend also names the lines with a label that are drawn already.
    """
    if not split.curves:
        mark_empty(axes, split, "one class only")
        return
    names = list(split.curves)
    if len(names) <= len(COLORS):
        names.sort(key=split.classes.index)
    handles, texts = axes.get_legend_handles_labels()
    for place, name in reversed(list(enumerate(names))):
        is_colored = place < len(COLORS)
        (line,) = axes.plot(
            *points(name),
            color=COLORS[place] if is_colored else LIGHT_GRAY,
            linewidth=1.6 if is_colored else 0.8,
            drawstyle=drawstyle,
        )
        if is_colored or place == len(COLORS):
            handles.append(line)
            value = split.per_class[name][metric]
            texts.append(f"{value:.3f}  {format_class(name, split.classes.index(name))}" if is_colored else "others")
    heading = f"{len(names)} of {len(split.classes)} classes" if 2 < len(split.classes) > len(names) else ""
    axes.legend(handles[::-1], texts[::-1], title=heading, loc=legend, fontsize=8, title_fontsize=8)


def _draw_histogram(axes: Axes, score: NDArray[np.floating], is_true_class: NDArray[np.bool_]) -> list[Artist]:
    """Draw the fractions of all other rows and of a class's rows; return the two patches."""
    edges = np.linspace(0, 1, 26)
    handles: list[Artist] = []
    for rows, color in ((~is_true_class, COLORS[0]), (is_true_class, COLORS[1])):
        counts, _ = np.histogram(score[rows], edges)
        shares = counts / max(int(rows.sum()), 1)
        handles.append(axes.stairs(shares, edges, fill=True, color=color, alpha=0.45))
        axes.stairs(shares, edges, color=color, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return handles


def _format_average(split: ClassEvaluation, metric: str, name: str) -> str:
    """Return the name and value of a metric that is a macro average if there are more than two classes."""
    return format_named_metric(f"macro {name}" if len(split.classes) > 2 else name, split.metrics[metric])
