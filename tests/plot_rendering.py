"""Tests render no plots unless they ask for it: rendering takes two thirds of the time of a small job."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from matplotlib.figure import Figure

_render = Figure.draw


def _draw_nothing(figure: Figure, renderer: Any) -> None:
    """Leave the image of a figure blank. The figure has been built, and the PNG file has its size."""


@contextmanager
def plots_rendered(is_rendered: bool = True) -> Iterator[None]:
    """In the block, render figures as matplotlib does; or leave them blank."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "draw", _render if is_rendered else _draw_nothing)
        yield
