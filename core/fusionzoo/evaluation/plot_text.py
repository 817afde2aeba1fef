"""Text for plots: one line, short, and with characters that matplotlib's font has."""

from __future__ import annotations

from functools import cache

from matplotlib.font_manager import FontProperties, findfont, get_font

MAX_LABEL_LENGTH = 24
MAX_HEADING_LENGTH = 60
POINTS_PER_INCH = 72
SUBPIXELS = 64  # of FreeType in a pixel


def format_class(name: str, index: int) -> str:
    """Return a class name for a plot: one line, shortened in the middle; its index if the font lacks a character."""
    return format_text(name, MAX_LABEL_LENGTH) or f"#{index}"


def add_heading(heading: str, line: str) -> str:
    """Return a title of two lines: the heading, shortened, and the line. Only the line if the heading is empty."""
    heading = format_text(heading, MAX_HEADING_LENGTH)
    return f"{heading}\n{line}" if heading else line


def format_text(text: str, length: int) -> str:
    """Return text for a plot: one line, shortened in the middle; empty if the font lacks a character."""
    text = " ".join(text.split())
    if any(ord(letter) not in _font_characters() for letter in text):
        return ""
    if len(text) > length:
        half = (length - 1) // 2
        text = f"{text[:half]}…{text[-half:]}"
    return escape_dollars(text)


def shorten_escaped(text: str) -> str:
    """Return text with escaped dollar signs without two characters in the middle; a very short text is returned."""
    plain = text.replace(r"\$", "$")
    head, mark, tail = plain.partition("…")  # of a text that has been shortened already
    if mark and len(head) > 1 and len(tail) > 1:
        return escape_dollars(f"{head[:-1]}…{tail[1:]}")
    half = (len(plain) - 3) // 2
    return escape_dollars(f"{plain[:half]}…{plain[-half:]}") if half > 0 else text


def measure_inches(text: str, points: float) -> float:
    """Return the width of one line of text in a font of this size."""
    font = get_font(findfont(FontProperties()))
    font.set_size(points, POINTS_PER_INCH)
    font.set_text(text, 0.0)
    return float(font.get_width_height()[0]) / SUBPIXELS / POINTS_PER_INCH


def escape_dollars(text: str) -> str:
    """Return the text with escaped dollar signs: matplotlib renders text between two of them as math."""
    return text.replace("$", r"\$")


@cache
def _font_characters() -> frozenset[int]:
    """Return the characters that matplotlib's font has."""
    return frozenset(get_font(findfont(FontProperties())).get_charmap())
