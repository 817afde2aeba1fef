"""Plots of one split as PNG bytes. Figures are objects of their own: pyplot and its global state are never touched."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from fusionzoo.evaluation.calibration import Reliability
from fusionzoo.evaluation.split_evaluation import SplitEvaluation

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""The palette of Okabe and Ito with a darker yellow: color-blind readers can distinguish the colors."""
GRAY = "#B8B8B8"
LABEL_LENGTH = 24
NUMBERED_CELLS = 12
NAMED_CELLS = 60
PANELS = 9
DOTS_PER_INCH = 110
INCHES_PER_LETTER = 0.09


def draw(split: SplitEvaluation) -> dict[str, bytes]:
    """PNG bytes by name: roc, precision_recall, reliability, confusion_matrix, probabilities.

    Without rows, or with one class only, the axes say why they are empty. No confusion matrix where the split's
    evaluation has none.
    """
    metrics = {
        "roc": roc(split),
        "precision_recall": precision_recall(split),
        "reliability": reliability(split),
        "probabilities": probabilities(split),
    }
    if split.confusion is not None:
        metrics["confusion_matrix"] = confusion_matrix(split, split.confusion)
    return {name: png(figure) for name, figure in metrics.items()}


def png(figure: Figure) -> bytes:
    """The figure's PNG bytes."""
    file = io.BytesIO()
    FigureCanvasAgg(figure)  # the figure's canvas from now on: needs no display and no global backend
    figure.savefig(file, format="png")
    return file.getvalue()


def roc(split: SplitEvaluation) -> Figure:
    """True against false positive rate, a line per class."""
    figure, axes = _square(split, _figure("AUROC", split.metrics["auroc"], split))
    axes.plot([0, 1], [0, 1], color=GRAY, linewidth=1, linestyle=":")
    _lines(figure, split, "auroc", lambda name: (split.curves[name].roc.fpr, split.curves[name].roc.tpr), "default")
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    return figure


def precision_recall(split: SplitEvaluation) -> Figure:
    """Precision against recall, a line per class; dotted, where there are two classes, the share of positives."""
    figure, axes = _square(split, _figure("average precision", split.metrics["average_precision"], split))
    if len(split.classes) == 2 and split.curves:
        axes.axhline(float((split.scored.y_true == 1).mean()), color=GRAY, linewidth=1, linestyle=":")

    def points(name: str) -> tuple[list[float], list[float]]:
        return split.curves[name].precision_recall.recall, split.curves[name].precision_recall.precision

    _lines(figure, split, "average_precision", points, "steps-post")
    axes.set(xlabel="recall", ylabel="precision")
    return figure


def reliability(split: SplitEvaluation) -> Figure:
    """Observed rate against mean probability per bin, above the number of rows per bin of equal width."""
    width, mass = split.calibration.equal_width, split.calibration.equal_mass
    error = None if width is None else width.expected_calibration_error
    figure = Figure(figsize=(5.6, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    upper.set_title(_title(split, _figure("calibration error", error, split)))
    upper.plot([0, 1], [0, 1], color=GRAY, linewidth=1, linestyle=":")
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    if split.calibration.of == "positive_class":
        name = _shown(split.classes[1], 1)
        upper.set_ylabel(f"share of rows of class {name}")
        lower.set_xlabel(f"probability of class {name}")
    else:
        upper.set_ylabel("share of rows predicted right")
        lower.set_xlabel("probability of the predicted class")
    lower.set_ylabel("rows")
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if width is None or mass is None:
        _empty(upper, split)
        return figure
    _bins(upper, width, "equal width", COLORS[0], "o")
    _bins(upper, mass, "equal mass", COLORS[1], "s")
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    sizes = np.array(width.upper) - np.array(width.lower)
    lower.bar(width.lower, width.rows, sizes, align="edge", color=COLORS[0], edgecolor="white", linewidth=0.5)
    return figure


def confusion_matrix(split: SplitEvaluation, counts: NDArray[np.int64]) -> Figure:
    """True against predicted class; color is the share of the true class's rows, numbers (few classes) are rows."""
    classes = len(split.classes)
    side = min(max(4.0, 0.55 * classes if classes <= NUMBERED_CELLS else 0.2 * classes), 11)
    step = -(-classes // NAMED_CELLS)
    ticks = range(0, classes, step)
    names = [_shown(split.classes[k], k) for k in ticks]
    letters = max(len(name) for name in names) * INCHES_PER_LETTER
    turned = letters > side / classes
    size = (side + 1.8 + letters, side + 1.0 + (letters if turned else 0))
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    support = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, support, out=np.zeros(counts.shape), where=support > 0)
    image = axes.imshow(share, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    figure.colorbar(image, ax=axes, label="share of the true class's rows", shrink=0.8)
    axes.set_title(_title(split, _figure("accuracy", split.metrics["accuracy"], None)))
    axes.set(xlabel="predicted class", ylabel="true class")
    height = 9 if classes <= NUMBERED_CELLS else 7
    axes.set_xticks(ticks, names, rotation=90 if turned else 0, fontsize=height)
    axes.set_yticks(ticks, names, fontsize=height)
    if classes <= NUMBERED_CELLS:
        for true, predicted in np.ndindex(counts.shape):
            color = "white" if share[true, predicted] > 0.55 else "black"
            text = f"{counts[true, predicted]:,}"
            axes.text(predicted, true, text, ha="center", va="center", color=color, fontsize=10 - len(text) // 3)
    return figure


def probabilities(split: SplitEvaluation) -> Figure:
    """Plot histograms of the probability of each class, for its own rows and for all others.

    Two classes: one panel, of class 1. More: a panel each for the most frequent, `PANELS` at most.
    """
    binary = len(split.classes) == 2
    shown = [1] if binary else sorted(split.by_frequency()[:PANELS])
    columns = min(len(shown), 3) or 1
    lines = -(-len(shown) // columns) or 1
    size = (6.4, 4.6) if columns == 1 else (3.0 * columns + 0.4, 2.3 * lines + 0.9)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    panels: list[Axes] = list(figure.subplots(lines, columns, squeeze=False, sharex=True).flat)
    of_all = "" if len(shown) in (1, len(split.classes)) else f", {len(shown)} of {len(split.classes)} classes"
    log_loss = _figure("log-loss", split.metrics["log_loss"], None)
    figure.suptitle(_title(split, log_loss + of_all), fontsize="large")
    for panel in panels[max(len(shown), 1) :]:
        panel.set_visible(False)
    handles: tuple[list[Artist], list[str]] | None = None
    for k, axes in zip(shown, panels, strict=False):
        own = split.scored.y_true == k
        names = (
            [_shown(name, i) for i, name in enumerate(split.classes)] if binary else ["other rows", "rows of the class"]
        )
        handles = _histogram(axes, split.scored.probabilities[:, k], own, names)
        if binary:
            axes.set(xlabel=f"probability of class {names[1]}", ylabel="share of the class's rows")
        else:
            axes.set_title(f"{_shown(split.classes[k], k)} ({int(own.sum()):,} rows)", fontsize=9)
    if not split.rows or not shown:
        _empty(panels[0], split)
    elif handles:
        figure.legend(handles[0], handles[1], loc="outside lower center", ncols=2, frameon=False)
    return figure


def _square(split: SplitEvaluation, metric: str) -> tuple[Figure, Axes]:
    wide = len(split.classes) > 2
    figure = Figure(figsize=(7.6 if wide else 5.4, 5.2), dpi=DOTS_PER_INCH, layout="constrained")
    axes = figure.subplots()
    axes.set_title(_title(split, metric))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
    return figure, axes


def _lines(
    figure: Figure,
    split: SplitEvaluation,
    metric: str,
    points: Callable[[str], tuple[Sequence[float], Sequence[float]]],
    drawstyle: str,
) -> None:
    """Draw a colored line for each of the most frequent classes, gray lines for the others, and a legend."""
    (axes,) = figure.axes
    if not split.curves:
        _empty(axes, split)
        return
    names = list(split.curves)
    if len(names) <= len(COLORS):
        names.sort(key=split.classes.index)
    handles, texts = [], []
    for place, name in reversed(list(enumerate(names))):
        colored = place < len(COLORS)
        (line,) = axes.plot(
            *points(name),
            color=COLORS[place] if colored else GRAY,
            linewidth=1.6 if colored else 0.8,
            drawstyle=drawstyle,
        )
        if colored or place == len(COLORS):
            handles.append(line)
            value = split.per_class[name][metric]
            texts.append(f"{value:.3f}  {_shown(name, split.classes.index(name))}" if colored else "others")
    if len(split.classes) > 2:
        heading = f"{len(names)} of {len(split.classes)} classes" if len(names) < len(split.classes) else "classes"
        figure.legend(handles[::-1], texts[::-1], title=heading, loc="outside right upper", frameon=False)


def _bins(axes: Axes, bins: Reliability, name: str, color: str, marker: str) -> None:
    text = f"{bins.expected_calibration_error:.4f}  bins of {name}"
    axes.plot(bins.mean_probability, bins.observed_rate, color=color, marker=marker, markersize=4, label=text)


def _histogram(
    axes: Axes, score: NDArray[np.floating], own: NDArray[np.bool_], names: Sequence[str]
) -> tuple[list[Artist], list[str]]:
    edges = np.linspace(0, 1, 26)
    handles: list[Artist] = []
    for rows, color in ((~own, COLORS[0]), (own, COLORS[1])):
        counts, _ = np.histogram(score[rows], edges)
        shares = counts / max(int(rows.sum()), 1)
        handles.append(axes.stairs(shares, edges, fill=True, color=color, alpha=0.45))
        axes.stairs(shares, edges, color=color, linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))
    return handles, list(names)


def _empty(axes: Axes, split: SplitEvaluation) -> None:
    text = "one class only" if split.rows else "no rows"
    axes.text(
        0.5, 0.5, text, ha="center", va="center", color="#606060", backgroundcolor="white", transform=axes.transAxes
    )


def _title(split: SplitEvaluation, metric: str) -> str:
    rows = "1 row" if split.rows == 1 else f"{split.rows:,} rows"
    return f"{_drawable(split.name)}: {rows}, {metric}"


def _figure(name: str, value: float | None, split: SplitEvaluation | None) -> str:
    """A figure's name and value; given a split of more than two classes, called a macro average."""
    if split is not None and len(split.classes) > 2 and name != "calibration error":
        name = f"macro {name}"
    return f"{name} undefined" if value is None else f"{name} {value:.3f}"


def _shown(name: str, index: int) -> str:
    """A class's name as a plot can show it: one line, shortened in the middle, or its number if the font lacks it."""
    text = " ".join(name.split())
    if not text or any(ord(letter) not in _letters() for letter in text):
        return f"#{index}"
    if len(text) > LABEL_LENGTH:
        half = (LABEL_LENGTH - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return _drawable(text)


def _drawable(text: str) -> str:
    """The text with its dollar signs as such: matplotlib would take what is between two of them for mathematics."""
    return text.replace("$", r"\$")


@cache
def _letters() -> frozenset[int]:
    """The letters that matplotlib's font has."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
