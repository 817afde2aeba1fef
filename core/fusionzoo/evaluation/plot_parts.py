"""What the plots of all tasks have in common: the palette, PNG files, titles and the reliability diagram."""

from __future__ import annotations

import io
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from PIL import Image

from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.plot_fitting import fit_texts
from fusionzoo.evaluation.plot_text import add_heading, escape_dollars
from fusionzoo.evaluation.probability_evaluation import ProbabilityEvaluation
from fusionzoo.evaluation.split_evaluation import SplitEvaluation

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D1F")
"""The palette of Okabe and Ito with a darker yellow: color-blind readers can distinguish the colors."""
LIGHT_GRAY = "#B8B8B8"
BASELINE: Mapping[str, Any] = MappingProxyType({"color": LIGHT_GRAY, "linewidth": 1, "linestyle": ":"})
MAX_PANELS = 9
DOTS_PER_INCH = 110
MAX_FITTING_PASSES = 3


def encode_png(figure: Figure) -> bytes:
    """Return the figure as PNG bytes, drawn without pyplot and its global state."""
    canvas = FigureCanvasAgg(figure)  # replaces the figure's canvas: needs no display and no global backend
    canvas.draw()  # type: ignore[no-untyped-call]  # once; `savefig` draws a figure with a layout twice
    for _ in range(MAX_FITTING_PASSES):  # a smaller text changes the layout
        if not fit_texts(figure, canvas.get_renderer()):  # type: ignore[no-untyped-call]
            break
        canvas.draw()  # type: ignore[no-untyped-call]
    file = io.BytesIO()
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    Image.fromarray(pixels).convert("RGB").save(file, "PNG")
    return file.getvalue()


def format_title(split: SplitEvaluation, metric: str) -> str:
    """Return the title of a plot: the heading, then the split with its rows and a metric."""
    return add_heading(split.heading, f"{escape_dollars(split.name)}: {pluralize(split.rows, 'row')}, {metric}")


def format_named_metric(name: str, value: float | None, number_format: str = ".3f") -> str:
    """Return the name and value of a metric."""
    return f"{name} undefined" if value is None else f"{name} {value:{number_format}}"


def mark_empty(axes: Axes, split: SplitEvaluation, reason: str) -> None:
    """State in the middle of the axes why they are empty: there are no rows, or else the reason."""
    text = reason if split.rows else "no rows"
    axes.text(
        0.5, 0.5, text, ha="center", va="center", color="#606060", backgroundcolor="white", transform=axes.transAxes
    )


def draw_reliability_diagram(split: ProbabilityEvaluation, rate: str, probability: str, count: str) -> Figure:
    """Draw the observed rate against the mean probability per bin, and below it the size of the bins of equal width.

    Args:
        split: the evaluation.
        rate: the label of the axis with the observed rate.
        probability: the label of the axis with the probability.
        count: the label of the axis with the size of a bin.
    """
    width, mass = split.calibration.equal_width, split.calibration.equal_mass
    error = None if width is None else width.expected_calibration_error
    figure = Figure(figsize=(5.6, 6.2), dpi=DOTS_PER_INCH, layout="constrained")
    upper, lower = figure.subplots(2, 1, height_ratios=[4, 1], sharex=True)
    upper.set_title(format_title(split, format_named_metric("calibration error", error)))
    upper.plot([0, 1], [0, 1], label="perfect", **BASELINE)
    upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), ylabel=rate)
    lower.set(xlabel=probability, ylabel=count)
    lower.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
    if width is None or mass is None:
        mark_empty(upper, split, "no rows")
        return figure
    for bins, name, color, marker in ((width, "width", COLORS[0], "o"), (mass, "mass", COLORS[1], "s")):
        text = f"{bins.expected_calibration_error:.4f}  bins of equal {name}"
        upper.plot(bins.mean_probability, bins.observed_rate, color=color, marker=marker, markersize=4, label=text)
    upper.legend(loc="upper left", fontsize=8)
    sizes = np.array(width.upper) - np.array(width.lower)
    lower.bar(width.lower, width.rows, sizes, align="edge", color=COLORS[0], edgecolor="white", linewidth=0.5)
    return figure
