"""How messages format names, counts, values and causes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from itertools import islice

MAX_CAUSE_LENGTH = 200
MAX_JSON_LENGTH = 80
MAX_COMPARED_NAMES, MAX_COMPARED_LENGTH = 10_000, 200


def nearest_names(name: str, known: Iterable[str], how_many: int = 1) -> list[str]:
    """Return the known names that are most like `name`, best first; the comparison ignores case.

    Names that differ only in case, spaces and punctuation come first. Of very many names, the first are compared, and
    no very long ones: comparing a million names takes minutes.
    """
    compared = islice((one for one in known if len(one) <= MAX_COMPARED_LENGTH), MAX_COMPARED_NAMES)
    by_lower = {candidate.lower(): candidate for candidate in compared}
    letters = keep_letters(name)
    same = [candidate for candidate in by_lower.values() if letters and keep_letters(candidate) == letters]
    close = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=how_many)]
    return list(dict.fromkeys([*same, *close]))[:how_many]


def keep_letters(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]+", "", name).casefold()


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun, such as "1 row" or "1,000 rows"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def quoted(names: Iterable[object]) -> str:
    """Return the names in quotes, separated by commas."""
    return ", ".join(f"'{name}'" for name in names)


def join_first(items: Sequence[str], limit: int) -> str:
    """Return the first `limit` items, separated by commas, and the number of the rest."""
    rest = len(items) - limit
    return ", ".join(items[:limit]) + (f" and {rest:,} more" if rest > 0 else "")


def quote_first(names: Sequence[object], limit: int = 10) -> str:
    """Return the first `limit` names in quotes, each of at most 60 characters, and the number of the rest."""
    return join_first([f"'{cut(str(name), 60)}'" for name in names], limit)


def format_examples(examples: Sequence[tuple[str, object]]) -> str:
    """Return rows with their values, such as "row 3 'cheap', row 7"."""
    return ", ".join(where if value is None else f"{where} {str(value)[:40]!r}" for where, value in examples)


def format_json(value: object) -> str:
    """Return the value as JSON on one line, at most `MAX_JSON_LENGTH` characters."""
    try:
        text = json.dumps(value, ensure_ascii=False, default=str, skipkeys=True)
    except (ValueError, RecursionError):
        text = f"{type(value).__name__} too large to show"
    return cut(printable(text), MAX_JSON_LENGTH)


def short(cause: BaseException | str) -> str:
    """Return the cause's text on one line, at most `MAX_CAUSE_LENGTH` characters."""
    return " ".join(str(cause).split())[:MAX_CAUSE_LENGTH]


def printable(text: str) -> str:
    """Return the text with halves of surrogate pairs, which no output can encode, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def quote_name(name: object) -> str:
    """Return a name of unknown content in quotes, at most 80 characters."""
    return cut(repr(name[:100] if isinstance(name, str) else name), 80)


def cut(text: str, length: int) -> str:
    """Return the text on one line, cut to `length` characters."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def list_names(names: Sequence[str], length: int = 400) -> str:
    """Return as many names as fit into `length` characters, and the number of the rest; "none" where there are none."""
    shown: list[str] = []
    for name in names:
        if len(", ".join([*shown, cut(name, length)])) > length:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(cut(name, length))
    return ", ".join(shown) or "none"
