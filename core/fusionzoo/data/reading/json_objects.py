"""JSON objects that remember that a key occurs more than once. Python keeps only the last value of such a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any


class RepeatedKeys(dict[str, Any]):
    """A JSON object in which a key occurs more than once; `pairs` has all of its keys and values."""

    pairs: list[tuple[str, Any]]

    def find(self, names: Iterable[str]) -> str | None:
        """Return the first of these names that occurs more than once; None if each occurs at most once."""
        counts = Counter(key for key, _ in self.pairs)
        return next((name for name in names if counts[name] > 1), None)


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object, for `object_pairs_hook` of the module json."""
    record = dict(pairs)
    if len(record) == len(pairs):
        return record
    repeated = RepeatedKeys(record)
    repeated.pairs = pairs
    return repeated
