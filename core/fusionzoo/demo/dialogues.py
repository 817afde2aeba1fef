"""The texts of the demo: dialogues between a buyer and a seller, written from the intents of each row."""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np

from fusionzoo.demo.phrases import CLOSINGS, EMOJI, GREETINGS, PATTERNS, SLOTS

_T = TypeVar("_T")

EMPTY_SHARE, PLAIN_SHARE, HTML_SHARE, EMOJI_SHARE = 0.02, 0.12, 0.12, 0.2  # shares of rows
MAX_MESSAGES = 12

# A text has at most one intent of each group. By intent: (share of rows, effect on the logit); "" is no intent.
_ISSUES = {"late": (0.25, 0.6), "broken": (0.25, 1.3), "wrong": (0.25, -0.3), "minor": (0.25, -1.6)}
_REQUESTS = {"refund": (0.5, 0.0), "exchange": (0.25, 0.0), "question": (0.25, 0.0)}
_TONES = {"threat": (0.2, 2.0), "anger": (0.25, 1.0), "thanks": (0.35, -1.5), "": (0.2, 0.0)}
_REPLIES = {"helps": (0.4, -1.2), "refuses": (0.35, 1.4), "": (0.25, 0.0)}
_GROUPS = (_ISSUES, _REQUESTS, _TONES, _REPLIES)
_EFFECTS = {intent: effect for group in _GROUPS for intent, (_, effect) in group.items()}


def draw_intents(rng: np.random.Generator, rows: int) -> list[list[str]]:
    """Return the intents of each row's text, in order; an empty list means an empty or missing text."""
    groups = [rng.choice(list(group), rows, p=[share for share, _ in group.values()]).tolist() for group in _GROUPS]
    has_text = rng.random(rows) >= EMPTY_SHARE
    return [
        [intent for intent in intents if intent] if row_has_text else []
        for row_has_text, *intents in zip(has_text, *groups, strict=True)
    ]


def compute_text_score(intents: Sequence[Sequence[str]]) -> np.ndarray:
    """Return the logit of the text alone, float64 [rows]."""
    return np.array([sum(_EFFECTS[intent] for intent in row_intents) for row_intents in intents], np.float64)


class DialogueWriter:
    """Writes dialogues from intents. All choices come from one stream of random numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._uniform = _uniforms(rng)

    def write_texts(self, intents: Sequence[Sequence[str]], columns: Mapping[str, np.ndarray]) -> list[str | None]:
        """Return one text per row; it names the product and the amount of the row's order."""
        rows = zip(intents, columns["product_category"], columns["order_value"], strict=True)
        return [
            self._write_text(row_intents, self._fill_slots(category, value)) for row_intents, category, value in rows
        ]

    def _write_text(self, intents: Sequence[str], slots: Mapping[str, str]) -> str | None:
        if not intents:
            return "" if self._happens(0.5) else None
        has_emoji, is_html = self._happens(EMOJI_SHARE), self._happens(HTML_SHARE)
        messages = [
            self._write_message(i % 2, turn, slots, has_emoji, is_html)
            for i, turn in enumerate(self._split_into_turns(intents))
        ]
        if self._happens(PLAIN_SHARE):
            return "\n".join(messages)
        return "".join(f"[bom]{message}[eom]" for message in messages)

    def _split_into_turns(self, intents: Sequence[str]) -> list[list[str]]:
        """Return the intents of each message. Buyer and seller alternate; a message without an intent is a note."""
        count = 2 if any(intent in _REPLIES for intent in intents) else 1
        while count < MAX_MESSAGES and self._happens(0.6):
            count += 1
        turns: list[list[str]] = [[] for _ in range(count)]
        for intent in intents:
            candidates = turns[1::2] if intent in _REPLIES else turns[:1] if intent in _ISSUES else turns[::2]
            self._pick(candidates).append(intent)
        return [turn or ["seller_note" if i % 2 else "buyer_note"] for i, turn in enumerate(turns)]

    def _write_message(
        self, speaker: int, intents: Sequence[str], slots: Mapping[str, str], has_emoji: bool, is_html: bool
    ) -> str:
        """Return one message of the buyer (0) or the seller (1): one sentence for each intent."""
        patterns = [self._pick(PATTERNS[intent]) for intent in intents]
        patterns[0] = self._pick(GREETINGS[speaker]) + patterns[0]
        patterns[-1] += self._pick(CLOSINGS[speaker])
        if has_emoji:
            patterns[-1] += " " + EMOJI.get(intents[-1], "👋")
        sentences = [pattern.format_map(slots) for pattern in patterns]
        if not is_html:
            return " ".join(sentences)
        sentences = [html.escape(sentence, quote=False).replace(" and ", " &amp; ") for sentence in sentences]
        return f"<p><b>{sentences[0]}</b>{''.join(f'<br>{sentence}' for sentence in sentences[1:])}</p>"

    def _fill_slots(self, category: str | None, value: float) -> dict[str, str]:
        """Return the words that fill the slots of one row's patterns."""
        slots = {slot: self._pick(choices.split()) for slot, choices in SLOTS.items()}
        slots["product"] = "item" if category is None else category.replace("_", " ")
        slots["amount"] = "whole amount" if np.isnan(value) else f"${value:.2f}"
        return slots | {"order": f"{int(1e6 * next(self._uniform)):06d}"}

    def _pick(self, choices: Sequence[_T]) -> _T:
        return choices[int(next(self._uniform) * len(choices))]

    def _happens(self, chance: float) -> bool:
        return next(self._uniform) < chance


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Yield numbers from 0 to 1 without end, drawn in blocks because single draws are slow."""
    while True:
        yield from rng.random(2**14).tolist()
