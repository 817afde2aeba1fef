"""Text cleaning: from a raw text to its messages, by the steps in `text_processing_steps`.

To add a step, add its name to `TextStep` in `data_settings.py` and a function to `_STEPS` below.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fusionzoo.data.data_settings import TextStep
from fusionzoo.data.ragged import compute_starts

_MESSAGE_MARK = re.compile(r"\[(?:bom|eom)\]", re.IGNORECASE)
# Tags and the beginnings of comments. A tag never extends over a "<", so each character is scanned only a few times:
# parsers that search for the end of a broken tag need time that grows with the square of the text's length. The
# lookahead with a reference to it gives back nothing that it matched, like `(...)*+` of Python 3.11 and newer.
_MARKUP = re.compile(
    r"""<!--|<[!?](?!\[CDATA)\[?[a-z][^<>]*>"""
    r"""|</?(?P<name>[a-z][a-z0-9:_-]*)(?=[\s/>])"""
    r"""(?:(?=(?P<attributes>(?:[^<>"']|"[^"<]*"|'[^'<]*')*))(?P=attributes)|[^<>]*)>""",
    re.IGNORECASE,
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#x[0-9a-f]{1,6}|[a-z][a-z0-9]{1,31});", re.IGNORECASE)
_INVISIBLE_UNTIL = {name: re.compile(rf"</{name}\s*>", re.IGNORECASE) for name in ("script", "style")}
_INVISIBLE_UNTIL["!--"] = re.compile("-->")
_BLOCK_TAGS = frozenset(
    (
        "address article blockquote br caption dd div dl dt fieldset figure footer form h1 h2 h3 h4 h5 h6 header hr "
        "li main nav ol option p pre section table td th title tr ul"
    ).split()
)
_EMOJI_SIGNS = (
    "\U0001f300-\U0001faff"  # pictographs, faces, transport, symbols
    "\U0001f000-\U0001f0ff\U0001f170-\U0001f2ff"  # tiles, cards, letters in boxes, flags
    "\u2600-\u2775\u2794-\u27bf"  # miscellaneous symbols and dingbats, except digits in circles
    "\u2b00-\u2bff"  # arrows, stars
    "\u23e9-\u23fa\u231a\u231b\u3030\u303d\u3297\u3299"
)
_EMOJI_PARTS = "\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f"  # variation selectors, keycap, tags of flags
# A joiner (U+200D) is removed only between emoji: between letters it is part of the word, as in Hindi.
_EMOJI = re.compile(
    f"(?:[{_EMOJI_SIGNS}]|[\u203c-\u2bff]\ufe0f)[{_EMOJI_SIGNS}{_EMOJI_PARTS}\u200d]*|[\ufe0e\ufe0f\u20e3]+"
)
# Combining marks, in the Unicode blocks that contain only such marks. The limit of stream-safe text (UAX 15) is 30.
_MARK = (
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u06d6-\u06dc\u06df-\u06e4\u0730-\u074a"
    "\u0e38-\u0e3a\u0e48-\u0e4b\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u302a-\u302f\u3099\u309a\ua8e0-\ua8f1"
    "\ufe20-\ufe2f]"
)
_EXCESS_MARKS = re.compile(f"({_MARK}{{30}}){_MARK}+")


@dataclass(frozen=True)
class Messages:
    """The messages of a block of rows, one row after the other."""

    texts: list[str]
    counts: np.ndarray  # [rows] int64, the number of messages of each row


def clean_messages(texts: Sequence[str | None], steps: Sequence[TextStep]) -> Messages:
    """Return the cleaned messages of each text. A null or empty text has none; a text without marks is one message."""
    pieces = [text for text in texts if text is not None]
    rows = np.array([row for row, text in enumerate(texts) if text is not None], np.int64)
    for step in steps:
        if step == "dialogue_splitter":
            parts = [_MESSAGE_MARK.split(piece) if "[" in piece else (piece,) for piece in pieces]
            rows = np.repeat(rows, [len(messages) for messages in parts])
            pieces = [piece for messages in parts for piece in messages]  # text outside the marks is a message too
        else:
            pieces = list(map(_STEPS[step], pieces))
    blank = [not piece or piece.isspace() for piece in pieces]
    if any(blank):
        pieces = [piece for piece, is_blank in zip(pieces, blank, strict=True) if not is_blank]
        rows = rows[~np.array(blank)]
    return Messages(pieces, np.bincount(rows, minlength=len(texts)))


def join_columns(columns: Mapping[str, Messages]) -> Messages:
    """Return the messages of all text columns, row by row. The first message of each column starts with its name."""
    if len(columns) == 1:
        return next(iter(columns.values()))
    texts: list[str] = []
    rows = []
    for name, messages in columns.items():
        named_texts = messages.texts.copy()
        for first in compute_starts(messages.counts)[:-1][messages.counts > 0].tolist():
            named_texts[first] = f"{name}: {named_texts[first]}"
        texts += named_texts
        rows.append(np.repeat(np.arange(len(messages.counts)), messages.counts))
    order = np.argsort(np.concatenate(rows), kind="stable").tolist()
    return Messages([texts[i] for i in order], np.sum([messages.counts for messages in columns.values()], axis=0))


def _normalize_html(text: str) -> str:
    """Return the visible text of HTML with entities decoded and a space at the edges of blocks. Other text stays."""
    if "<" in text:
        text = _remove_tags(text)
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def _remove_tags(text: str) -> str:
    pieces: list[str] = []
    position = 0
    unclosed: set[str] = set()
    for mark in _MARKUP.finditer(text):
        if mark.start() < position:
            continue  # inside a comment, script or style
        tag = "!--" if mark[0] == "<!--" else (mark["name"] or "").lower()
        end = mark.end()
        if tag in _INVISIBLE_UNTIL and not mark[0].startswith("</"):
            closing_tag = None if tag in unclosed else _INVISIBLE_UNTIL[tag].search(text, end)
            if closing_tag is None:
                unclosed.add(tag)
            else:
                end = closing_tag.end()
        pieces += [text[position : mark.start()], " " if tag in _BLOCK_TAGS else ""]
        position = end
    return "".join([*pieces, text[position:]])


def _remove_emoji(text: str) -> str:
    """Replace emoji, with their joiners and color modifiers, by a space. The digit of a keycap stays."""
    return text if text.isascii() else _EMOJI.sub(" ", text)


def _normalize_text(text: str) -> str:
    """Return the text in Unicode NFC, with null bytes and runs of whitespace replaced by one space.

    A run of more than 30 marks on one letter, which no language has, is cut to 30: NFC sorts marks in quadratic time.
    """
    if not text.isascii():
        text = _EXCESS_MARKS.sub(r"\1", text)
    return " ".join(unicodedata.normalize("NFC", text).replace("\0", " ").split())


_STEPS: Mapping[TextStep, Callable[[str], str]] = {
    "html_normalizer": _normalize_html,
    "emoji_remover": _remove_emoji,
    "text_normalizer": _normalize_text,
}
