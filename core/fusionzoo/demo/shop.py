"""The demo's data: messages between buyer and seller beside the order's table; label: does it end in a dispute.

Each row's chance of a dispute is known, and so is the best AUROC that any model can reach:

    logit p = text + table + interaction + INTERCEPT

`text` adds up what the messages do (complain, threaten, thank, refuse), `table` adds up bounded effects of columns,
and `interaction` is what neither side shows alone: asking for a refund is a bad sign for an old order or electronics,
and a good one for a fresh order of anything else.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from sklearn.metrics import roc_auc_score

from fusionzoo.errors import DemoFolderError

_T = TypeVar("_T")

MIN_ROWS = 50
SPLIT_SHARES: Mapping[str, float] = {"train": 0.7, "val": 0.1, "test": 0.2}
PARTS: Mapping[str, int] = {"train": 4, "val": 2, "test": 2}
MARK = b"fusionzoo.demo"  # in the metadata of every part file: only files that carry it are ever replaced

TRAINING: Mapping[str, Any] = {"max_sen_len": 128, "max_epochs": 8, "early_stop_metric": "val/auroc"}

ID, TEXT, LABEL = "message_id", "messages", "disputed"
CATEGORIES = ("marketplace", "product_category", "seller_tier")
NUMBERS = ("order_value", "days_since_order", "buyer_orders", "seller_rating")

# --- What the table is drawn from; the most frequent value stands first

_MARKETPLACES = "us de uk fr jp it es ca mx br au nl se pl in sg tr ae be eg za cl pt ie at gr fi nz"
_PRODUCTS = (
    "headset jacket tablet backpack smartphone novel blender camera kettle router teapot monitor puzzle scarf "
    "smartwatch lamp keyboard doormat projector tent hammer yoga_mat lunchbox bracelet curtain wallet umbrella "
    "garden_hose picture_frame board_game water_bottle coffee_mug desk_chair bicycle_pump dog_collar chess_set "
    "flower_pot baking_tray sleeping_bag bath_towel"
)
_ELECTRONICS = "headset tablet smartphone camera router monitor smartwatch keyboard projector"
_NICHE = "vintage handmade miniature antique folding painted engraved wooden enamel travel"  # of any product
_TIERS: Mapping[str, float] = {"silver": 0.45, "bronze": 0.3, "gold": 0.2, "founding_partner": 0.05}
_MISSING = dict(zip((*CATEGORIES, *NUMBERS), (0.01, 0.03, 0.0, 0.03, 0.03, 0.05, 0.08), strict=True))
EMPTY_TEXTS, PLAIN_TEXTS, HTML_TEXTS, EMOJI_TEXTS = 0.02, 0.12, 0.12, 0.2  # shares of rows, as _MISSING
NICHE_PRODUCTS, OUTLIERS = 0.03, 0.005  # an outlier is a hundred times too large
MAX_MESSAGES = 12

# --- What a text does: one of each line; (share of rows, effect on the logit); "" is nothing

_ISSUES = {"late": (0.25, 0.6), "broken": (0.25, 1.3), "wrong": (0.25, -0.3), "minor": (0.25, -1.6)}
_REQUESTS = {"refund": (0.5, 0.0), "exchange": (0.25, 0.0), "question": (0.25, 0.0)}
_TONES = {"threat": (0.2, 2.0), "anger": (0.25, 1.0), "thanks": (0.35, -1.5), "": (0.2, 0.0)}
_REPLIES = {"helps": (0.4, -1.2), "refuses": (0.35, 1.4), "": (0.25, 0.0)}
_STEPS = (_ISSUES, _REQUESTS, _TONES, _REPLIES)
_TEXT_EFFECT = {act: effect for step in _STEPS for act, (_, effect) in step.items()}

# --- How the rest moves the logit

TIER_EFFECT: Mapping[str, float] = {"bronze": 1.2, "gold": -1.5}
ELECTRONICS_EFFECT = 0.4
MISSING_RATING_EFFECT = 1.2  # a seller whom nobody has rated yet; any other missing value has no effect
INTERACTION = 3.0
INTERCEPT = -2.0

# --- The words: an intent's patterns are its openings (before the ;) times its cores

_PHRASES: Mapping[str, str] = {
    "late": "I am sorry to say that|It is {day} now and|The app says it was shipped, but|Even after {days} days|"
    "I asked {friend} next door as well:|We were at home all week, yet;my {product} has not arrived|"
    "the parcel with the {product} never came|nothing was delivered to us in {city}|the {product} was lost in transit|"
    "the courier has not delivered the {product}|the tracking page has not moved since {city}",
    "broken": "I opened the box on {day} and|After {days} days of use|When {friend} tried it at home,|To my surprise|"
    "Unlike in your photos,|I tested it twice:;the {product} is broken|the {product} is defective and does nothing|"
    "there is a crack in the {product}|the {product} stopped working|a part of the {product} is damaged|"
    "the {product} turned out to be faulty",
    "wrong": "I unpacked it on {day} and|Compared with the invoice,|Somebody mixed up the labels:|It looks as if|"
    "I am afraid that|{friend} noticed first that;you sent me the wrong {product}|the size does not match my order|"
    "this is a different model from the one in the listing|the colour is not the one that I ordered|"
    "I got somebody else's {product}|the {product} is another variant",
    "minor": "All in all it is fine, but|Nothing serious:|It works well, only|A small remark from {city}:|"
    "We use it since {day} and|{friend} likes it, although;there is a tiny scratch on the {product}|"
    "the box of the {product} was slightly dented|the sticker on the {product} is a little crooked|"
    "the manual is in another language|the {product} has a faint mark near the edge|the shade is paler than expected",
    "refund": "I want|I would like|I am asking for|What I need is|I am waiting for|All I expect is;a full refund|"
    "a refund of {amount}|my money back|a refund to my card by {day}|a refund for the {product}|"
    "reimbursement of {amount}",
    "exchange": "Could you send me|I would prefer|Please ship|I would be happy with|Is it possible to get|"
    "I can wait for;a replacement|another {product}|a new one in exchange|the same {product} again|a spare part for it|"
    "a replacement by {day}",
    "question": "Could you tell me|Please let me know|I am just wondering|Can you check|I only want to know|"
    "It would help to hear;what happens next|when somebody can look into this|which department handles this|"
    "whether you need photos of the {product}|how many days this takes|where I can see the status",
    "threat": "If I hear nothing by {day},|Without an answer|If this is not settled in {days} days,|Otherwise|"
    "One more excuse and|I have waited enough, so;I will open a claim|I will ask my bank for a chargeback|"
    "I will report you to the marketplace|my lawyer will contact you|I will dispute the payment|"
    "I will file a complaint with consumer protection",
    "anger": "Frankly,|I have to say that|Honestly,|Once again:|I told {agent} already that|Let me be clear:;"
    "this is unacceptable|your service is terrible|I am furious|you are wasting my time|"
    "this is a ridiculous way to treat a customer|I am angry and very disappointed",
    "thanks": "As always,|In any case,|No hurry,|By the way,|Whatever comes of it,|Meanwhile,;"
    "thank you for your kind help|I appreciate your efforts|thanks a lot for looking into it|"
    "I am sure that we find a friendly solution|I am grateful for your quick reply|have a lovely {day}",
    "helps": "Of course,|We apologise, and|After a look at order {order},|Good news:|{agent} from our team agrees:|"
    "As a gesture of goodwill;we will make this right today|we offer you a voucher of {amount}|"
    "a prepaid label is on its way to you|our warehouse will solve this by {day}|we gladly cover all costs|"
    "we welcome your return",
    "refuses": "Unfortunately,|According to our policy|We asked the warehouse and|As stated in the listing,|"
    "Our records are clear:|{agent} from our team has decided:;we cannot accept this|we reject your claim|"
    "no compensation is possible|the seller is not responsible|the warranty does not apply|we must decline",
    "buyer_note": "For reference,|As mentioned,|To add to this:|Just to confirm,|Once more,;my order number is {order}|"
    "I live in {city}|I wrote to {agent} on {day}|the address on the parcel is correct|I paid {amount} in total",
    "seller_note": "At the moment|Just a short note:|For your information,|As you asked:|Today, {day},;"
    "we are reading your message|we are looking at order {order}|{agent} is at the desk|our office opens at nine|"
    "we are waiting for a colleague",
}


def _patterns(phrases: str) -> tuple[str, ...]:
    openings, cores = (part.split("|") for part in phrases.split(";"))
    return tuple(f"{a} {b}{'?' if a.startswith(('Could', 'Can', 'Is')) else '.'}" for a, b in product(openings, cores))


PATTERNS: Mapping[str, tuple[str, ...]] = {intent: _patterns(phrases) for intent, phrases in _PHRASES.items()}
_GREETINGS = (("", "", "Hi! ", "Hello {agent}. ", "Good morning. ", "Dear seller! "), ("", "Hello {buyer}. ", "Hi! "))
_CLOSINGS = (("", "", "", " Regards, {buyer}", " {buyer} from {city}"), ("", "", " Best wishes, {agent}", " {agent}"))
_EMOJI: Mapping[str, str] = {"anger": "😡", "threat": "⚠️", "thanks": "🙏", "late": "📦", "broken": "😕", "helps": "🙂"}
_NAMES = "Anna Ben Chloe Daniel Emeka Fatima Goran Hana Ivan Julia Kofi Lena Mia Noor Omar Priya Sven"
_SLOTS: Mapping[str, str] = {
    "day": "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
    "days": "two three four five six 8 9 10 12",
    **dict.fromkeys(("buyer", "agent", "friend"), _NAMES),
    "city": "Leeds Lyon Bremen Porto Austin Denver Turin Osaka Gdansk Malmo Utrecht Boston Cork Graz",
}


@dataclass(frozen=True)
class DemoData:
    """What `generate` wrote, and what a job's settings must know about it.

    `rows` and `bayes_auroc` are by split; the latter is the AUROC of the true chances against the labels that were
    drawn from them: the ceiling of every model (NaN where a tiny split has one class only).
    """

    rows: Mapping[str, int]
    bayes_auroc: Mapping[str, float]
    id_name: str = ID
    text_name: str = TEXT
    label_name: str = LABEL
    cat_field_list: tuple[str, ...] = CATEGORIES
    tab_field_list: tuple[str, ...] = NUMBERS


@dataclass(frozen=True)
class DrawnRows:
    """Rows as a job reads them, and each row's parts of the logit: float64 [rows]."""

    table: pa.Table
    text_score: np.ndarray
    table_score: np.ndarray
    interaction: np.ndarray

    @property
    def chance(self) -> np.ndarray:
        """Each row's true chance of a dispute, [rows]."""
        return _sigmoid(self.text_score + self.table_score + self.interaction + INTERCEPT)


def generate_demo_data(root: Path, rows: int, seed: int = 7) -> DemoData:
    """Write `rows` rows to `<root>/input/data/{train,val,test}`, several Parquet parts each, 70/10/20.

    The same rows and seed give the same data anywhere. Parts of an earlier call are replaced.

    Raises:
        ValueError: fewer rows than MIN_ROWS.
        fusionzoo.errors.DemoFolderError: a channel holds something that no earlier call wrote; nothing is changed.
    """
    folders = {split: root / "input" / "data" / split for split in SPLIT_SHARES}
    earlier = [path for folder in folders.values() for path in _own_parts(folder)]
    drawn, counts = draw_rows(rows, seed), split_rows(rows)
    labels, chance = drawn.table[LABEL].to_numpy(), drawn.chance
    for path in earlier:
        path.unlink()
    aurocs, first = {}, 0
    for split, folder in folders.items():
        span = slice(first, first + counts[split])
        _write(folder, drawn.table.slice(first, counts[split]), PARTS[split])
        aurocs[split] = _auroc(labels[span], chance[span])
        first = span.stop
    return DemoData(counts, aurocs)


def write_hyperparameters(root: Path, made: DemoData, model_class: str, others: Mapping[str, Any]) -> Path:
    """Write the demo job's hyperparameters.json, each value as text, as SageMaker does; returns its path.

    `others` are further settings, or other values of these; their texts are taken as they are.
    """
    settings: dict[str, Any] = {
        "model_class": model_class,
        "id_name": made.id_name,
        "text_name": made.text_name,
        "label_name": made.label_name,
        "cat_field_list": list(made.cat_field_list),
        "tab_field_list": list(made.tab_field_list),
        "num_classes": 2,
        **TRAINING,
        **others,
    }
    path = root / "input" / "config" / "hyperparameters.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    path.write_text(json.dumps(written, indent=2) + "\n", encoding="utf-8")
    return path


def split_rows(rows: int) -> dict[str, int]:
    """Rows of each split; all together are `rows`."""
    counts = {split: int(rows * share) for split, share in SPLIT_SHARES.items()}
    counts["train"] += rows - sum(counts.values())
    return counts


def draw_rows(rows: int, seed: int = 7) -> DrawnRows:
    """The rows of train, val and test, in this order, with labels drawn from their true chances.

    Raises:
        ValueError: fewer rows than MIN_ROWS.
    """
    if rows < MIN_ROWS:
        raise ValueError(f"rows is {rows}; the demo needs {MIN_ROWS} at least")
    for_table, for_text, for_labels = np.random.default_rng(seed).spawn(3)
    columns = _draw_columns(for_table, rows)
    intents = _draw_intents(for_text, rows)
    texts = _Writer(for_text).texts(intents, columns)
    text_score = np.array([sum(_TEXT_EFFECT[act] for act in acts) for acts in intents], np.float64)
    wants_refund = np.array([1.0 if "refund" in acts else 0.0 for acts in intents])
    table_score = _table_score(columns)
    interaction = INTERACTION * wants_refund * _refund_risk(columns)
    chance = _sigmoid(text_score + table_score + interaction + INTERCEPT)
    arrays = {ID: pa.array([f"m-{i:06d}" for i in range(rows)]), TEXT: pa.array(texts, pa.string())}
    arrays |= {name: pa.array(column, from_pandas=True) for name, column in columns.items()}
    arrays[LABEL] = pa.array((for_labels.random(rows) < chance).astype(np.int64))
    return DrawnRows(pa.table(arrays), text_score, table_score, interaction)


# --- The table


def _draw_columns(rng: np.random.Generator, rows: int) -> dict[str, np.ndarray]:
    """Category columns (objects, None where missing) and number columns (NaN where missing), each [rows]."""
    niche = rng.choice([f"{a}_{b}" for a, b in product(_NICHE.split(), _PRODUCTS.split())], rows)
    columns: dict[str, np.ndarray] = {
        "marketplace": _zipf(rng, _MARKETPLACES, rows, 1.6),
        "product_category": np.where(rng.random(rows) < NICHE_PRODUCTS, niche, _zipf(rng, _PRODUCTS, rows, 0.8)),
        "seller_tier": rng.choice(list(_TIERS), rows, p=list(_TIERS.values())),
        "order_value": rng.lognormal(np.log(45), 0.9, rows).round(2),
        "days_since_order": np.ceil(rng.lognormal(np.log(18), 0.8, rows)),
        "buyer_orders": np.floor(rng.lognormal(np.log(6), 1.1, rows)),
        "seller_rating": (5 - rng.gamma(2.0, 0.4, rows)).clip(1, 5).round(2),
    }
    for name in NUMBERS[:3]:
        columns[name] = np.where(rng.random(rows) < OUTLIERS, columns[name] * 100, columns[name])
    for name, share in _MISSING.items():
        missing = rng.random(rows) < share
        if name in CATEGORIES:
            columns[name] = columns[name].astype(object)
        columns[name][missing] = None if name in CATEGORIES else np.nan
    return columns


def _zipf(rng: np.random.Generator, words: str, rows: int, exponent: float) -> np.ndarray:
    """Words [rows], the k-th as frequent as 1 / k ** exponent."""
    values = words.split()
    weights = 1.0 / np.arange(1, len(values) + 1) ** exponent
    return rng.choice(values, rows, p=weights / weights.sum())


def _table_score(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the table says by itself, [rows]; each effect is bounded, so that no outlier decides alone."""
    low_rating = 2.0 * (4.3 - columns["seller_rating"]).clip(-0.8, 0.8)
    effects = [
        1.5 * np.tanh(np.log(columns["order_value"] / 45)),
        -1.7 * np.tanh(np.log((columns["buyer_orders"] + 1) / 7)),
        np.nan_to_num(low_rating, nan=MISSING_RATING_EFFECT),
        np.array([TIER_EFFECT.get(tier, 0.0) for tier in columns["seller_tier"]]),
        ELECTRONICS_EFFECT * np.isin(columns["product_category"], _ELECTRONICS.split()),
    ]
    score: np.ndarray = np.nan_to_num(effects).sum(axis=0)
    return score


def _refund_risk(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """What asking for a refund means, [rows]: from -1 (harmless: a fresh order) to 1 (an old order, or electronics)."""
    age = np.nan_to_num(np.tanh(2 * np.log(columns["days_since_order"] / 20)))
    electronics = np.isin(columns["product_category"], _ELECTRONICS.split())
    risk: np.ndarray = np.minimum(age + 0.8 * electronics, 1.0)
    return risk


def _sigmoid(logit: np.ndarray) -> np.ndarray:
    chance: np.ndarray = 1 / (1 + np.exp(-logit))
    return chance


# --- The text


def _draw_intents(rng: np.random.Generator, rows: int) -> list[list[str]]:
    """What each row's text does, in order; an empty list is a text that is empty or missing."""
    steps = [rng.choice(list(step), rows, p=[share for share, _ in step.values()]).tolist() for step in _STEPS]
    written = rng.random(rows) >= EMPTY_TEXTS
    return [[act for act in acts if act] if kept else [] for kept, *acts in zip(written, *steps, strict=True)]


class _Writer:
    """Turns intents into dialogues, with the words of one stream of random numbers."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._uniform = _uniforms(rng)

    def texts(self, intents: Sequence[Sequence[str]], columns: Mapping[str, np.ndarray]) -> list[str | None]:
        """One text per row; the products and amounts in it are those of the row's table."""
        rows = zip(intents, columns["product_category"], columns["order_value"], strict=True)
        return [self._text(acts, self._words(category, value)) for acts, category, value in rows]

    def _text(self, acts: Sequence[str], words: Mapping[str, str]) -> str | None:
        if not acts:
            return "" if self._chance(0.5) else None
        has_emoji, is_html = self._chance(EMOJI_TEXTS), self._chance(HTML_TEXTS)
        messages = [self._message(i % 2, turn, words, has_emoji, is_html) for i, turn in enumerate(self._turns(acts))]
        if self._chance(PLAIN_TEXTS):
            return "\n".join(messages)
        return "".join(f"[bom]{message}[eom]" for message in messages)

    def _turns(self, acts: Sequence[str]) -> list[list[str]]:
        """What each message does, buyer and seller by turns; one that does nothing else is a note."""
        count = 2 if any(act in _REPLIES for act in acts) else 1
        while count < MAX_MESSAGES and self._chance(0.6):
            count += 1
        turns: list[list[str]] = [[] for _ in range(count)]
        for act in acts:
            speakers = turns[1::2] if act in _REPLIES else turns[:1] if act in _ISSUES else turns[::2]
            self._pick(speakers).append(act)
        return [turn or ["seller_note" if i % 2 else "buyer_note"] for i, turn in enumerate(turns)]

    def _message(
        self, speaker: int, acts: Sequence[str], words: Mapping[str, str], has_emoji: bool, is_html: bool
    ) -> str:
        """One message of the buyer (0) or the seller (1): a sentence for each thing that it does."""
        sentences = [self._pick(PATTERNS[act]) for act in acts]
        sentences[0] = self._pick(_GREETINGS[speaker]) + sentences[0]
        sentences[-1] += self._pick(_CLOSINGS[speaker])
        if has_emoji:
            sentences[-1] += " " + _EMOJI.get(acts[-1], "👋")
        filled = [sentence.format_map(words) for sentence in sentences]
        if not is_html:
            return " ".join(filled)
        filled = [html.escape(sentence, quote=False).replace(" and ", " &amp; ") for sentence in filled]
        return f"<p><b>{filled[0]}</b>{''.join(f'<br>{sentence}' for sentence in filled[1:])}</p>"

    def _words(self, category: str | None, value: float) -> dict[str, str]:
        """What fills the slots of one row's patterns."""
        words = {slot: self._pick(choices.split()) for slot, choices in _SLOTS.items()}
        words["product"] = "item" if category is None else category.replace("_", " ")
        words["amount"] = "whole amount" if np.isnan(value) else f"${value:.2f}"
        return words | {"order": f"{int(1e6 * next(self._uniform)):06d}"}

    def _pick(self, choices: Sequence[_T]) -> _T:
        return choices[int(next(self._uniform) * len(choices))]

    def _chance(self, share: float) -> bool:
        return next(self._uniform) < share


def _uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Numbers from 0 to 1 without end, drawn in blocks since single draws are slow."""
    while True:
        yield from rng.random(2**14).tolist()


# --- The files


def _own_parts(folder: Path) -> list[Path]:
    """The parts in a channel's folder that an earlier call wrote; none where there is no folder.

    Raises:
        fusionzoo.errors.DemoFolderError: there is anything else.
    """
    if not folder.exists():
        return []
    found = sorted(folder.iterdir()) if folder.is_dir() else [folder]
    for path in found:
        if not _is_own(path):
            raise DemoFolderError(folder, path.name)
    return found


def _is_own(path: Path) -> bool:
    if path.is_symlink() or not path.is_file() or path.suffix != ".parquet":
        return False
    try:
        return MARK in (pq.read_schema(path).metadata or {})
    except (pa.ArrowException, OSError):
        return False


def _write(folder: Path, table: pa.Table, parts: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata({MARK: b"1"})
    edges = np.linspace(0, len(table), parts + 1).astype(int).tolist()
    for part, (begin, end) in enumerate(pairwise(edges)):
        pq.write_table(table.slice(begin, end - begin), folder / f"part-{part:05d}.parquet")


def _auroc(labels: np.ndarray, chance: np.ndarray) -> float:
    return float(roc_auc_score(labels, chance)) if 0 < labels.sum() < len(labels) else float("nan")
