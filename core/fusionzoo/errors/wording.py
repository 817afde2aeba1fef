"""How messages put names, counts and causes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches


def nearest_names(name: str, known: Iterable[str], how_many: int = 1) -> list[str]:
    """The known names that are most like `name`, best first; compared without regard to case."""
    by_lower = {candidate.lower(): candidate for candidate in known}
    return [by_lower[match] for match in get_close_matches(name.lower(), by_lower, n=how_many)]


def pluralize(number: int, thing: str) -> str:
    return f"{number} {thing}" + ("" if number == 1 else "s")


def quoted(names: Iterable[object]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def shown_examples(examples: Sequence[tuple[str, object]]) -> str:
    return ", ".join(where if value is None else f"{where} {str(value)[:40]!r}" for where, value in examples)


def short(cause: Exception | str) -> str:
    return " ".join(str(cause).split())[:200]


def named(name: str) -> str:
    return cut(repr(name), 80)


def cut(text: str, length: int) -> str:
    """The text on one line, its end left out where it is longer than `length`."""
    line = " ".join(text.split())
    return line if len(line) <= length else line[: length - 3] + "..."


def some(names: Sequence[str], length: int = 400) -> str:
    """As many of the names as fit into `length`, and how many more there are."""
    shown: list[str] = []
    for name in names:
        if len(", ".join([*shown, cut(name, length)])) > length:
            return f"{', '.join(shown)} and {len(names) - len(shown)} more"
        shown.append(cut(name, length))
    return ", ".join(shown)
