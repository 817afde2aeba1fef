"""Plots of one split of a regression as PNG bytes: predicted against true numbers, and residuals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from fusionzoo.errors.wording import pluralize
from fusionzoo.evaluation.plot_parts import (
    BASELINE,
    COLORS,
    DOTS_PER_INCH,
    MAX_PANELS,
    encode_png,
    format_named_metric,
    format_title,
)
from fusionzoo.evaluation.plot_text import format_class
from fusionzoo.evaluation.regression_evaluation import RegressionEvaluation

MAX_POINTS = 5000  # evenly spaced rows; more only make a plot larger
CENTRAL_QUANTILES = (0.05, 0.95)  # of the rows, so that several per cent of outliers do not move them
MAX_DISTANCE = 5  # of a point from the central quantiles, in their distance from each other; others are outliers
MARGIN = 0.05  # of the axes
Numbers = NDArray[np.floating]


@dataclass(frozen=True)
class Points:
    """The coordinates of all rows, and which rows are drawn."""

    x: Numbers
    y: Numbers
    shown: NDArray[np.integer]


@dataclass(frozen=True)
class RowPlot:
    """A plot with a point for each row.

    Attributes:
        locate: returns the coordinates from the true and the predicted numbers, [rows] each.
        draw_baseline: draws where the points of perfect predictions are.
        labels: of the axes.
    """

    locate: Callable[[Numbers, Numbers], tuple[Numbers, Numbers]]
    draw_baseline: Callable[[Axes, Points], None]
    labels: tuple[str, str]

    def draw(self, axes: Axes, true: Numbers, predicted: Numbers, shown: NDArray[np.integer]) -> int:
        """Draw the points, and return how many rows are outside of the axes."""
        x, y = self.locate(true.astype(np.float64), predicted.astype(np.float64))
        points = Points(x, y, shown)
        axes.set(xlabel=self.labels[0], ylabel=self.labels[1])
        self.draw_baseline(axes, points)
        axes.scatter(x[shown], y[shown], s=8, alpha=0.5, color=COLORS[0], linewidths=0)
        return limit_axes(axes, points)


def draw_regression_plots(split: RegressionEvaluation) -> dict[str, bytes]:
    """Return PNG bytes by name: predicted_against_true, residuals. One panel for each of the first targets."""
    return {name: encode_png(draw_panels(split, plot)) for name, plot in PLOTS.items()}


def draw_panels(split: RegressionEvaluation, plot: RowPlot) -> Figure:
    """Return a figure with one panel for each of the first `MAX_PANELS` targets."""
    targets = list(split.targets)[:MAX_PANELS]
    columns = min(len(targets), 3)
    lines = -(-len(targets) // columns)
    size = (5.4, 5.4) if len(targets) == 1 else (3.4 * columns + 0.4, 3.4 * lines + 0.6)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel in panels[len(targets) :]:
        panel.set_visible(False)
    shown = np.unique(np.linspace(0, max(len(split.y_true) - 1, 0), MAX_POINTS).astype(int))[: len(split.y_true)]
    title = _format_title(split)
    for k, (target, axes) in enumerate(zip(targets, panels, strict=False)):
        outside = plot.draw(axes, split.y_true[:, k], split.predicted[:, k], shown)
        note = f"{pluralize(outside, 'row')} outside the axes" if outside else ""
        if len(targets) > 1:
            name = format_class(target, k)
            axes.set_title(f"{name}\n{note}" if note else name, fontsize=9)
        elif note:
            title += f", {note}"
    figure.suptitle(title, fontsize="large")
    return figure


def limit_axes(axes: Axes, points: Points) -> int:
    """Limit the axes so that extreme outliers do not hide the other points, and return the number of rows outside."""
    is_outside = np.zeros(len(points.x), bool)
    for values, set_limits in ((points.x, axes.set_xlim), (points.y, axes.set_ylim)):
        limits = find_limits(values)
        if limits is not None:
            low, high = limits
            is_outside |= (values < low) | (values > high)
            margin = MARGIN * (high - low)
            set_limits(low - margin, high + margin)
    return int(is_outside.sum())


def find_limits(values: Numbers) -> tuple[float, float] | None:
    """Return the lowest and highest value that is no extreme outlier; None without outliers.

    The central quantiles are values of two rows, so that they do not depend on how far outliers are away.
    """
    if not len(values):
        return None
    low = float(np.quantile(values, CENTRAL_QUANTILES[0], method="higher"))
    high = float(np.quantile(values, CENTRAL_QUANTILES[1], method="lower"))
    distance = MAX_DISTANCE * (high - low)
    near = values[(values >= low - distance) & (values <= high + distance)]
    if not distance > 0 or len(near) == len(values):
        return None
    return float(near.min()), float(near.max())


def _draw_diagonal(axes: Axes, points: Points) -> None:
    if len(points.x):
        middle = float(np.median(points.x))
        axes.axline((middle, middle), slope=1, label="perfect", **BASELINE)  # does not change the limits of the axes
        axes.legend(loc="upper left", fontsize=8)


def _draw_zero(axes: Axes, points: Points) -> None:
    axes.axhline(0, **BASELINE)


PLOTS: Mapping[str, RowPlot] = MappingProxyType(
    {
        "predicted_against_true": RowPlot(lambda true, scores: (true, scores), _draw_diagonal, ("true", "predicted")),
        "residuals": RowPlot(
            lambda true, scores: (scores, true - scores), _draw_zero, ("predicted", "true - predicted")
        ),
    }
)


def _format_title(split: RegressionEvaluation) -> str:
    metrics = [
        format_named_metric(label, split.metrics[name], ".4g") for name, label in (("rmse", "RMSE"), ("r2", "R2"))
    ]
    return format_title(split, ", ".join(metrics))
