"""How messages format names, counts, values and causes."""

from __future__ import annotations

import json
import re
import stat
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from itertools import islice
from types import MappingProxyType

MAX_CAUSE_LENGTH = 200
MAX_JSON_LENGTH = 80
MAX_COMPARED_NAMES, MAX_COMPARED_LENGTH = 10_000, 200
PLURAL_VERBS: Mapping[str, str] = MappingProxyType({"is": "are", "was": "were", "has": "have"})


def nearest_names(name: str, candidates: Iterable[str], how_many: int = 1) -> list[str]:
    """Return the candidates that are most like `name`, best first; the comparison ignores case.

    Names that differ only in case, spaces and punctuation come first. Of very many names, the first are compared, and
    no very long ones: comparing a million names takes minutes.
    """
    short_names = (candidate for candidate in candidates if len(candidate) <= MAX_COMPARED_LENGTH)
    by_lower = {candidate.lower(): candidate for candidate in islice(short_names, MAX_COMPARED_NAMES)}
    letters = keep_letters(name)
    same = [candidate for candidate in by_lower.values() if letters and keep_letters(candidate) == letters]
    close = [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=how_many)]
    return list(dict.fromkeys([*same, *close]))[:how_many]


def keep_letters(name: str) -> str:
    """Return the letters and digits of a name, in lower case."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def find_lookalikes(names: Iterable[object], others: Iterable[object] | None = None) -> tuple[str, str] | None:
    """Return the first two names that look equal but differ, such as by a no-break space; None if there are none.

    With `others`, the second one is one of these; otherwise both are among `names`.
    """
    by_appearance: dict[str, str] = {}
    for other in islice(() if others is None else others, MAX_COMPARED_NAMES):
        by_appearance.setdefault(_get_appearance(str(other)), str(other))
    for name in map(str, islice(names, MAX_COMPARED_NAMES)):
        appearance = _get_appearance(name)
        if by_appearance.get(appearance, name) != name:
            return name, by_appearance[appearance]
        if others is None:
            by_appearance.setdefault(appearance, name)
    return None


def note_lookalikes(names: Iterable[object], others: Iterable[object] | None = None) -> str:
    """Return a clause with two names that look equal but differ, see `find_lookalikes`; empty if there are none.

    It shows them in ASCII, because they look equal otherwise. It begins with a semicolon.
    """
    pair = find_lookalikes(names, others)
    if pair is None:
        return ""
    first, second = (cut(ascii(name), 80) for name in pair)
    return f"; {first} and {second} look equal, but differ in invisible characters or in their Unicode form"


def _get_appearance(name: str) -> str:
    """Return a name as a reader sees it: in one Unicode form, without invisible characters and outer spaces."""
    normal = unicodedata.normalize("NFKC", name[:MAX_COMPARED_LENGTH])
    return " ".join("".join(letter for letter in normal if not _is_invisible(letter)).split())


def _is_invisible(letter: str) -> bool:
    """Return whether a character is a control character, a formatting character or a variation selector."""
    is_variation_selector = "\ufe00" <= letter <= "\ufe0f"
    return is_variation_selector or (unicodedata.category(letter) in ("Cc", "Cf") and not letter.isspace())


def pluralize(number: int, noun: str, plural: str = "") -> str:
    """Return the number with its noun, such as "1 row" or "1,000 rows"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def pluralize_verb(predicate: str) -> str:
    """Return what is said about one thing, such as "is null", for several: "are null"."""
    verb, _, rest = predicate.partition(" ")
    return f"{PLURAL_VERBS.get(verb, verb)} {rest}"


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
    first: list[str] = []
    for name in names:
        if len(", ".join([*first, cut(name, length)])) > length:
            return f"{', '.join(first)} and {len(names) - len(first)} more"
        first.append(cut(name, length))
    return ", ".join(first) or "none"


def describe_file_kind(mode: int) -> str:
    """Return what a path is by its `st_mode`, with an article."""
    kinds = {
        stat.S_IFREG: "a file",
        stat.S_IFDIR: "a folder",
        stat.S_IFLNK: "a link",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
    }
    return kinds.get(stat.S_IFMT(mode), "a device")
