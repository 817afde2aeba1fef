"""Cleaning steps: from a raw text to its messages, chosen and ordered by `text_processing_steps`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

from fusionzoo.data.settings import TextStep

_MESSAGE_MARK = re.compile(r"\[(?:bom|eom)\]", re.IGNORECASE)
_MARKUP = re.compile(r"<[a-zA-Z/!?]|&(?:#\w+|[a-zA-Z]\w*);")
_BLOCK_TAGS = ["address", "article", "blockquote", "br", "dd", "div", "dl", "dt", "footer", "form", "h1", "h2", "h3"]
_BLOCK_TAGS += ["h4", "h5", "h6", "header", "hr", "li", "ol", "p", "pre", "section", "table", "td", "th", "tr", "ul"]
_EMOJI = re.compile(
    "["
    "\U0001f1e6-\U0001f1ff"  # flags
    "\U0001f300-\U0001faff"  # pictographs, faces, transport, symbols
    "\U0001f000-\U0001f2ff"  # tiles, cards, enclosed characters
    "\u2600-\u27bf"  # miscellaneous symbols and dingbats
    "\u2b00-\u2bff"  # arrows, stars
    "\u23e9-\u23fa\u231a\u231b\u3030\u303d\u3297\u3299"
    "\U000e0020-\U000e007f"  # tags of flags
    "\u200d\ufe0e\ufe0f\u20e3"  # joiner, variation selectors, keycap
    "]+"
)
_SPACE = re.compile(r"\s+")


def messages(texts: Sequence[str | None], steps: Sequence[TextStep]) -> list[list[str]]:
    """Each text's messages, cleaned; an empty list for a null or empty text. A text without marks is one message."""
    return [[] if text is None else _clean(text, steps) for text in texts]


def join_columns(columns: Mapping[str, Sequence[list[str]]]) -> list[list[str]]:
    """One list of messages per row from several text columns; each column's first message is headed by its name."""
    if len(columns) == 1:
        return list(next(iter(columns.values())))
    joined: list[list[str]] = [[] for _ in next(iter(columns.values()))]
    for name, rows in columns.items():
        for all_messages, own in zip(joined, rows, strict=True):
            if own:
                all_messages += [f"{name}: {own[0]}", *own[1:]]
    return joined


def _clean(text: str, steps: Sequence[TextStep]) -> list[str]:
    parts = [text]
    for step in steps:
        parts = [piece for part in parts for piece in _STEPS[step](part)]
    return [part for part in parts if part.strip()]


def _split_dialogue(text: str) -> list[str]:
    """Messages between [bom] and [eom]; text outside the marks is a message too, so nothing is lost."""
    return _MESSAGE_MARK.split(text) if "[" in text else [text]


def _normalize_html(text: str) -> list[str]:
    """Visible text of HTML, entities decoded, a space where a block ends; parsed only where there is markup."""
    if not _MARKUP.search(text):
        return [text]
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(text, "html.parser")
    for hidden in soup(["script", "style"]):
        hidden.decompose()
    for block in soup(_BLOCK_TAGS):
        block.insert_before(" ")
        block.append(" ")
    return [soup.get_text()]


def _remove_emoji(text: str) -> list[str]:
    """Emoji and their joiners become a space."""
    return [text] if text.isascii() else [_EMOJI.sub(" ", text)]


def _normalize_text(text: str) -> list[str]:
    """Unicode NFC, null bytes and runs of white space become one space."""
    return [_SPACE.sub(" ", unicodedata.normalize("NFC", text).replace("\0", " ")).strip()]


_STEPS: Mapping[TextStep, Callable[[str], list[str]]] = {
    "dialogue_splitter": _split_dialogue,
    "html_normalizer": _normalize_html,
    "emoji_remover": _remove_emoji,
    "text_normalizer": _normalize_text,
}
