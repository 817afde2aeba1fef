"""Plot the losses and the early-stopping metric of a training against its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fusionzoo.evaluation.metric_directions import LOSS_METRIC
from fusionzoo.evaluation.metric_text import format_metric
from fusionzoo.evaluation.plot_parts import COLORS, DOTS_PER_INCH
from fusionzoo.evaluation.plot_text import add_heading

MAX_MARKED_VALIDATIONS = 30
MAX_EPOCH_TICKS = 10

Validations = Sequence[Mapping[str, float]]


def draw_learning_curve(validations: Validations, metric: str, best_step: int, heading: str = "") -> Figure:
    """Draw the training and validation loss, and in a second panel the early-stopping metric if it is another one.

    Args:
        validations: `epoch` (from 1), `step`, `train_loss`, `val_loss` and the metric of each validation; at least one.
        metric: the name of the early-stopping metric.
        best_step: the step of the validation that the best weights come from.
        heading: the first line of the title.
    """
    has_metric = metric != LOSS_METRIC
    figure = Figure(figsize=(6.4, 6.2 if has_metric else 4.6), dpi=DOTS_PER_INCH, layout="constrained")
    panels: list[Axes] = list(figure.subplots(1 + has_metric, 1, sharex=True, squeeze=False).flat)
    best = next(v for v in validations if v["step"] == best_step)
    result = f"best {metric} {format_metric(best[metric])} in epoch {best['epoch']:.0f}, step {best_step:,}"
    panels[0].set_title(add_heading(heading, result))
    for name, label, color in (("train_loss", "train", COLORS[0]), (LOSS_METRIC, "val", COLORS[1])):
        _draw_line(panels[0], validations, name, label, color)
    panels[0].set_ylabel("loss")
    if has_metric:
        _draw_line(panels[1], validations, metric, "val", COLORS[1])
        panels[1].set_ylabel(metric)
    for axes in panels:
        axes.axvline(best_step, label="best validation", color=COLORS[6], linewidth=1, linestyle=":")
        axes.margins(y=0.1)
        axes.legend(fontsize=8)
    panels[-1].set_xlabel("step")
    panels[-1].set_xlim(0, 1.03 * validations[-1]["step"])
    panels[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    panels[-1].xaxis.set_major_formatter("{x:,.0f}")
    _add_epoch_axis(panels[0], validations)
    return figure


def _draw_line(axes: Axes, validations: Validations, name: str, label: str, color: str) -> None:
    marker = "o" if len(validations) <= MAX_MARKED_VALIDATIONS else ""
    steps, values = [v["step"] for v in validations], [v[name] for v in validations]
    axes.plot(steps, values, label=label, color=color, marker=marker, markersize=4, linewidth=1.6)


def _add_epoch_axis(axes: Axes, validations: Validations) -> None:
    """Add an axis above the panel with the ends of the epochs, at most `MAX_EPOCH_TICKS` of them."""
    ends = {int(v["epoch"]): v["step"] for v in validations}  # the last validation of each epoch
    shown = list(ends)[:: -(-len(ends) // MAX_EPOCH_TICKS)]
    upper = axes.secondary_xaxis("top")
    upper.set_xticks([ends[epoch] for epoch in shown], [str(epoch) for epoch in shown])
    upper.set_xlabel("epoch")
