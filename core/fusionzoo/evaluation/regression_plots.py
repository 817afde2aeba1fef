"""Plots of one split of a regression as PNG bytes: predicted against true numbers, and residuals."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

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
Draw = Callable[[Axes, NDArray[np.floating], NDArray[np.floating]], None]


def draw_regression_plots(split: RegressionEvaluation) -> dict[str, bytes]:
    """Return PNG bytes by name: predicted_against_true, residuals. One panel for each of the first targets."""
    draws: dict[str, Draw] = {"predicted_against_true": _draw_predicted, "residuals": _draw_residuals}
    return {name: encode_png(draw_panels(split, draw)) for name, draw in draws.items()}


def draw_panels(split: RegressionEvaluation, draw: Draw) -> Figure:
    """Return a figure with one panel for each of the first `MAX_PANELS` targets."""
    targets = list(split.targets)[:MAX_PANELS]
    columns = min(len(targets), 3)
    lines = -(-len(targets) // columns)
    size = (5.4, 5.4) if len(targets) == 1 else (3.4 * columns + 0.4, 3.4 * lines + 0.6)
    figure = Figure(figsize=size, dpi=DOTS_PER_INCH, layout="constrained")
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    figure.suptitle(_format_title(split), fontsize="large")
    for panel in panels[len(targets) :]:
        panel.set_visible(False)
    shown = np.unique(np.linspace(0, max(len(split.y_true) - 1, 0), MAX_POINTS).astype(int))[: len(split.y_true)]
    for k, (target, axes) in enumerate(zip(targets, panels, strict=False)):
        if len(targets) > 1:
            axes.set_title(format_class(target, k), fontsize=9)
        draw(axes, split.y_true[shown, k], split.predicted[shown, k])
    return figure


def _draw_predicted(axes: Axes, true: NDArray[np.floating], predicted: NDArray[np.floating]) -> None:
    if len(true):
        ends = [float(min(true.min(), predicted.min())), float(max(true.max(), predicted.max()))]
        axes.plot(ends, ends, label="perfect", **BASELINE)
        axes.legend(loc="upper left", fontsize=8)
    axes.scatter(true, predicted, s=8, alpha=0.5, color=COLORS[0], linewidths=0)
    axes.set(xlabel="true", ylabel="predicted")


def _draw_residuals(axes: Axes, true: NDArray[np.floating], predicted: NDArray[np.floating]) -> None:
    axes.axhline(0, **BASELINE)
    axes.scatter(predicted, true - predicted, s=8, alpha=0.5, color=COLORS[0], linewidths=0)
    axes.set(xlabel="predicted", ylabel="true - predicted")


def _format_title(split: RegressionEvaluation) -> str:
    metrics = [
        format_named_metric(label, split.metrics[name], ".4g") for name, label in (("rmse", "RMSE"), ("r2", "R2"))
    ]
    return format_title(split, ", ".join(metrics))
