"""Tests render no plots unless they ask for it: rendering takes two thirds of the time of a small job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from fusionzoo.evaluation.plot_parts import encode_png

_render = Figure.draw


def _draw_nothing(figure: Figure, renderer: Any) -> None:
    """Leave the image of a figure blank. The figure has been built, and the PNG file has its size."""


@contextmanager
def plots_rendered(is_rendered: bool = True) -> Iterator[None]:
    """In the block, render figures as matplotlib does; or leave them blank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "draw", _render if is_rendered else _draw_nothing)
        yield


def find_drawn_texts(figure: Figure) -> list[tuple[Text, Bbox]]:
    """Return the texts that a plot shows, with their boxes in pixels, as `encode_png` draws it."""
    drawn: list[tuple[Text, Bbox]] = []
    draw, draw_figure = Text.draw, figure.draw

    def record(text: Text, renderer: Any) -> None:
        if text.get_visible() and text.get_text().strip():
            drawn.append((text, text.get_window_extent(renderer)))
        draw(text, renderer)

    def draw_again(renderer: Any) -> None:
        drawn.clear()
        draw_figure(renderer)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Text, "draw", record)
        patch.setattr(figure, "draw", draw_again)
        encode_png(figure)
    return drawn
