"""Values of a column that are probably meant to be one: they differ only in outer spaces, case or Unicode form."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from fusionzoo.errors.wording import pluralize

MAX_COMPARED = 300_000  # distinct values, about 0.3 s; a column with more is an id or free text
MAX_SHOWN = 40  # characters of a value; of a longer one, the beginning and the end


def warn_of_similar_values(column: str, kind: str, counts: Mapping[str, int]) -> list[str]:
    """Return a warning if values of a column differ only in outer spaces, case or Unicode form, otherwise nothing.

    Args:
        column: the name of the column.
        kind: what a value is called, such as "category".
        counts: the number of rows of each value in train.
    """
    if len(counts) > MAX_COMPARED:
        return []
    most_frequent: dict[str, str] = {}  # by what similar values share
    similar: list[tuple[int, str, str]] = []
    for value in sorted(counts, key=lambda value: (-counts[value], value)):
        other = most_frequent.setdefault(_fold(value), value)
        if other is not value:
            similar.append((counts[value], value, other))
    if not similar:
        return []
    count, value, other = similar[0]
    more = "" if len(similar) == 1 else f" In total, {len(similar):,} values are like that."
    return [
        f"Column '{column}': {_show(value)} ({pluralize(count, 'row')}) and {_show(other)} "
        f"({pluralize(counts[other], 'row')}) differ only in outer spaces, case or Unicode form, and each is a {kind} "
        f"of its own.{more} If they mean the same, write them in one way."
    ]


def _fold(value: str) -> str:
    if value.isascii():
        return value.strip().lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).strip().casefold())


def _show(value: str) -> str:
    half = MAX_SHOWN // 2
    return ascii(value if len(value) <= MAX_SHOWN else f"{value[:half]}...{value[-half:]}")
