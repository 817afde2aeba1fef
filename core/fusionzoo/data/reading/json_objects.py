"""Parse JSON: objects remember that a key occurs more than once, and integers may have any number of digits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import Any

MAX_DIGITS = 640  # of an integer; Python converts longer ones slowly, and refuses those of more than 4,300 digits


class RepeatedKeys(dict[str, Any]):
    """A JSON object in which a key occurs more than once; `pairs` has all of its keys and values.

    Python keeps only the last value of such a key.
    """

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


def parse_json(text: str) -> Any:
    """Return the value of a JSON document. An integer that Python refuses is the text of its digits.

    Raises:
        ValueError: the text is not JSON.
        RecursionError: it is nested too deeply.
    """
    try:
        return json.loads(text, object_pairs_hook=make_object)
    except json.JSONDecodeError:
        raise
    except ValueError:  # the hook takes time, so that only documents with such an integer have it
        return json.loads(text, object_pairs_hook=make_object, parse_int=_parse_integer)


def parse_json_at(text: str, position: int) -> tuple[Any, int]:
    """Return the JSON value that begins at a position, as `parse_json` does, and the position after it.

    Raises:
        ValueError: there is no value, or it has no end.
        RecursionError: it is nested too deeply.
    """
    try:
        return _DECODER.raw_decode(text, position)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return _DECODER_OF_LONG_INTEGERS.raw_decode(text, position)


def _parse_integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


_DECODER = json.JSONDecoder(object_pairs_hook=make_object)
_DECODER_OF_LONG_INTEGERS = json.JSONDecoder(object_pairs_hook=make_object, parse_int=_parse_integer)
