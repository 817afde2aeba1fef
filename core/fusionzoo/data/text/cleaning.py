"""Cleaning steps: from a raw text to its messages, chosen and ordered by `text_processing_steps`."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusionzoo.data.data_settings import TextStep
from fusionzoo.data.ragged import starts_of

_MESSAGE_MARK = re.compile(r"\[(?:bom|eom)\]", re.IGNORECASE)
# Tags and the beginnings of comments. No tag reaches over a "<", so that each character is looked at a few times only,
# whatever the text: parsers that look for the end of a broken tag take time that grows with the square of the length.
_MARKUP = re.compile(
    r"""<!--|<[!?](?!\[CDATA)\[?[a-z][^<>]*>"""
    r"""|</?(?P<name>[a-z][a-z0-9:_-]*)(?=[\s/>])(?:(?:[^<>"']|"[^"<]*"|'[^'<]*')*+|[^<>]*)>""",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_HIDDEN_UNTIL = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}
_HIDDEN_UNTIL["!--"] = re.compile("-->")
_BLOCK_TAGS = frozenset(
    (
        "address article blockquote br caption dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr "
        "li main nav ol option p pre section table td th title tr ul"
    ).split()
)
_EMOJI_SIGNS = (
    "\U0001f300-\U0001faff"  # pictographs, faces, transport, symbols
    "\U0001f000-\U0001f0ff\U0001f170-\U0001f2ff"  # tiles, cards, letters in boxes, flags
    "\u2600-\u2775\u2794-\u27bf"  # miscellaneous symbols and dingbats, but no digits in circles
    "\u2b00-\u2bff"  # arrows, stars
    "\u23e9-\u23fa\u231a\u231b\u3030\u303d\u3297\u3299"
)
_EMOJI_PARTS = "\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f"  # variation selectors, keycap, tags of flags
# A joiner (U+200D) goes with the emoji that it joins only: between letters it belongs to the word, as in Hindi.
_EMOJI = re.compile(
    f"(?:[{_EMOJI_SIGNS}]|[\u203c-\u2bff]\ufe0f)[{_EMOJI_SIGNS}{_EMOJI_PARTS}\u200d]*|[\ufe0e\ufe0f\u20e3]+"
)
# Combining marks, in the blocks that are nothing else; 30 are the limit of Unicode's stream-safe text (UAX 15).
_MARK = (
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u06d6-\u06dc\u06df-\u06e4\u0730-\u074a"
    "\u0e38-\u0e3a\u0e48-\u0e4b\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u302a-\u302f\u3099\u309a\ua8e0-\ua8f1"
    "\ufe20-\ufe2f]"
)
_MANY_MARKS = re.compile(f"({_MARK}{{30}}){_MARK}+")


@dataclass(frozen=True)
class Messages:
    """The messages of a block of rows, one row after the other."""

    texts: list[str]
    counts: np.ndarray  # [rows] int64: how many of them are each row's


def clean_messages(texts: Sequence[str | None], steps: Sequence[TextStep]) -> Messages:
    """Each text's messages, cleaned; none for a null or empty text. A text without marks is one message."""
    pieces = [text for text in texts if text is not None]
    rows = np.array([row for row, text in enumerate(texts) if text is not None], np.int64)
    for step in steps:
        if step == "dialogue_splitter":
            parts = [_MESSAGE_MARK.split(piece) if "[" in piece else (piece,) for piece in pieces]
            rows = np.repeat(rows, [len(some) for some in parts])
            pieces = [piece for some in parts for piece in some]  # text outside the marks is a message too
        else:
            pieces = list(map(_CHANGES[step], pieces))
    blank = [not piece or piece.isspace() for piece in pieces]
    if any(blank):
        pieces = [piece for piece, is_blank in zip(pieces, blank, strict=True) if not is_blank]
        rows = rows[~np.array(blank)]
    return Messages(pieces, np.bincount(rows, minlength=len(texts)))


def join_columns(columns: Mapping[str, Messages]) -> Messages:
    """The messages of several text columns, row by row; each column's first message is headed by its name."""
    if len(columns) == 1:
        return next(iter(columns.values()))
    texts: list[str] = []
    rows = []
    for name, own in columns.items():
        headed = own.texts.copy()
        for first in starts_of(own.counts)[:-1][own.counts > 0].tolist():
            headed[first] = f"{name}: {headed[first]}"
        texts += headed
        rows.append(np.repeat(np.arange(len(own.counts)), own.counts))
    order = np.argsort(np.concatenate(rows), kind="stable").tolist()
    return Messages([texts[i] for i in order], np.sum([own.counts for own in columns.values()], axis=0))


def _normalize_html(text: str) -> str:
    """Visible text of HTML, entities decoded, a space where a block begins or ends. What is no markup stays."""
    if "<" in text:
        text = _without_tags(text)
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _without_tags(text: str) -> str:
    pieces: list[str] = []
    at = 0
    unclosed: set[str] = set()
    for mark in _MARKUP.finditer(text):
        if mark.start() < at:
            continue  # within a comment, script or style
        kind = "!--" if mark[0] == "<!--" else (mark["name"] or "").lower()
        end = mark.end()
        if kind in _HIDDEN_UNTIL and not mark[0].startswith("</"):
            close = None if kind in unclosed else _HIDDEN_UNTIL[kind].search(text, end)
            if close is None:
                unclosed.add(kind)
            else:
                end = close.end()
        pieces += [text[at : mark.start()], " " if kind in _BLOCK_TAGS else ""]
        at = end
    return "".join([*pieces, text[at:]])


def _remove_emoji(text: str) -> str:
    """Emoji, with what joins and colours them, become a space; of a keycap its digit stays."""
    return text if text.isascii() else _EMOJI.sub(" ", text)


def _normalize_text(text: str) -> str:
    """Unicode NFC, null bytes and runs of white space become one space.

    Of a run of more than 30 marks on one letter, which no language has, 30 stay: to order them takes quadratic time.
    """
    if not text.isascii():
        text = _MANY_MARKS.sub(r"\1", text)
    return " ".join(unicodedata.normalize("NFC", text).replace("\0", " ").split())


_CHANGES: Mapping[TextStep, Callable[[str], str]] = {
    "html_normalizer": _normalize_html,
    "emoji_remover": _remove_emoji,
    "text_normalizer": _normalize_text,
}
