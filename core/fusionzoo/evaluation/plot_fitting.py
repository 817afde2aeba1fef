"""Make titles and axis labels smaller, and shorten them if that is not enough, until they fit on the canvas.

The layout of matplotlib makes room for the height of a title, but not for its width.
"""

from __future__ import annotations

from collections.abc import Iterator

from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.figure import Figure
from matplotlib.text import Text

from fusionzoo.evaluation.plot_text import shorten_escaped

MIN_FONT_SIZE = 7.0  # points
MARGIN = 4.0  # pixels between a text and the edge of the canvas
TOLERANCE = 0.5  # pixels
FONT_STEP = 0.2  # points


def fit_texts(figure: Figure, renderer: RendererBase) -> bool:
    """Fit the titles and axis labels of a figure that has been drawn; return whether it has to be drawn again."""
    was_changed = False
    for axes in figure.axes:
        if axes.get_visible():
            was_changed |= _fit_title(axes, figure, renderer)
    for text in _list_labels(figure):
        was_changed |= _fit(text, _get_room(text, figure, renderer), renderer)
    return was_changed or any(_is_outside(text, figure, renderer) for text in _list_labels(figure))


def _is_outside(text: Text, figure: Figure, renderer: RendererBase) -> bool:
    """Return whether a text leaves the canvas. The layout of matplotlib needs a second pass for long tick labels."""
    box, (width, height) = text.get_window_extent(renderer), figure.bbox.size
    return bool(text.get_text()) and bool(min(box.x0, box.y0) < 0 or box.x1 > width or box.y1 > height)


def _list_labels(figure: Figure) -> Iterator[Text]:
    """Yield the labels of the axes, and the title and labels of the figure."""
    yield from figure.texts
    for axes in figure.axes:
        if axes.get_visible():
            yield from (axes.xaxis.label, axes.yaxis.label)
            for child in axes.child_axes:  # a secondary axis
                yield from (child.xaxis.label, child.yaxis.label)


def _fit_title(axes: Axes, figure: Figure, renderer: RendererBase) -> bool:
    """Fit the title of a panel into its width; that of a single column is centered on the figure if it needs more."""
    spec = axes.get_subplotspec()
    columns = 1 if spec is None else spec.get_gridspec().ncols
    title, box = axes.title, axes.get_window_extent()
    room = _get_room(title, figure, renderer)
    if columns == 1 and box.width and title.get_window_extent(renderer).width > room + TOLERANCE:
        title.set_x((figure.bbox.width / 2 - box.x0) / box.width)
        _fit(title, figure.bbox.width - 2 * MARGIN, renderer)
        return True
    return _fit(title, room if columns == 1 else min(room, box.width), renderer)


def _get_room(text: Text, figure: Figure, renderer: RendererBase) -> float:
    """Return the pixels that a text may be long, so that neither end leaves the canvas; its center stays in place."""
    box = text.get_window_extent(renderer)
    if _is_vertical(text):
        center, size = (box.y0 + box.y1) / 2, figure.bbox.height
    else:
        center, size = (box.x0 + box.x1) / 2, figure.bbox.width
    return float(2 * min(center, size - center) - 2 * MARGIN)


def _fit(text: Text, room: float, renderer: RendererBase) -> bool:
    """Make a text smaller, and then shorter, until it is at most `room` pixels long; return whether it changed."""
    length = _measure(text, renderer)
    if not text.get_visible() or not text.get_text() or length <= room + TOLERANCE or room <= 0:
        return False
    size = float(text.get_fontsize()) * room / length
    text.set_fontsize(max(MIN_FONT_SIZE, size))
    while size > MIN_FONT_SIZE and _measure(text, renderer) > room + TOLERANCE:  # letters have hinted widths
        size -= FONT_STEP
        text.set_fontsize(max(MIN_FONT_SIZE, size))
    while _measure(text, renderer) > room + TOLERANCE:
        lines = text.get_text().split("\n")
        longest = max(range(len(lines)), key=lambda i: len(lines[i]))
        shorter = shorten_escaped(lines[longest])
        if shorter == lines[longest]:
            break
        text.set_text("\n".join([*lines[:longest], shorter, *lines[longest + 1 :]]))
    return True


def _measure(text: Text, renderer: RendererBase) -> float:
    box = text.get_window_extent(renderer)
    return float(box.height if _is_vertical(text) else box.width)


def _is_vertical(text: Text) -> bool:
    return text.get_rotation() == 90
