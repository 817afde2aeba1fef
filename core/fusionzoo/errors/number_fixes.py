"""What to do about texts in a column of numbers, by the shape of the texts."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

CURRENCY_CODES = ("EUR", "USD", "GBP", "CHF", "JPY", "CNY", "INR")
SIGNS_OF_SHARES = "%\u2030"  # percent and per mille
SEPARATORS = "write 1234.56, with a decimal point and without thousands separators"
SIGN = "remove the currency or percent sign"
DATE = "convert it to numbers"
DATE_OF_FEATURE = f"{DATE}, such as days since a fixed day, or move it to cat_field_list"
SCORING = "give a number such as 1200.5, without signs, units or thousands separators; or null if the value is missing"
SCORING_DATE = "convert it to numbers, as in the data that the model was trained on"

_DATE = re.compile(r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([T ].*)?")
_SEPARATED = (
    re.compile(r"\d{1,3}(?P<group>[.,'\u2019_ ])\d{3}((?P=group)\d{3})*([.,]\d+)?"),
    re.compile(r"\d{1,2}(,\d{2})+,\d{3}(\.\d+)?"),  # lakhs and crores
    re.compile(r"\d*,\d+|\d+,"),
    re.compile(r"\d+(_\d+)+(\.\d+)?"),
)
_NUMBER = re.compile(r"\d+\.?\d*|\.\d+")
_EXPONENT = re.compile(r"[eE][+-]?\d+$")


def looks_like_dates(values: Iterable[object]) -> bool:
    """Return whether all values are texts that are dates, such as 2024-10-28 or 28.10.2024."""
    return all(isinstance(value, str) and _DATE.fullmatch(value.strip()) for value in values)


def advise_on_numbers(values: Iterable[object]) -> str | None:
    """Return how to write texts as numbers; None if one of them has no known form of a number."""
    fixes: dict[str, None] = {}
    for value in values:
        found = list(_find_fixes(str(value)))
        if not found:
            return None
        fixes.update(dict.fromkeys(found))
    return ", and ".join(fixes) or None


def _find_fixes(value: str) -> Iterator[str]:
    """Yield what to change so that a text is a number; nothing if it has no known form of one."""
    text = unicodedata.normalize("NFKC", value).strip()  # no-break spaces become spaces
    core = _EXPONENT.sub("", _remove_signs(text).strip().lstrip("+-").strip())
    has_sign = _remove_signs(text) != text
    if any(form.fullmatch(core) for form in _SEPARATED):
        if has_sign:
            yield SIGN
        yield SEPARATORS
    elif has_sign and _NUMBER.fullmatch(core):
        yield SIGN


def _remove_signs(text: str) -> str:
    for code in CURRENCY_CODES:
        text = text.removeprefix(code).removesuffix(code)
    return "".join(letter for letter in text if letter not in SIGNS_OF_SHARES and unicodedata.category(letter) != "Sc")
