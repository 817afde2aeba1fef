"""The canonical text of a value, which is the same for every type and file format that it can have.

Numbers: the shortest text of the float64; whole numbers below 1e21 as digits. A text is a number if it has a decimal
point, or an exponent with a sign, and no leading zeros: "007" and "1e5" are codes. Booleans: True and False. Dates and
times: ISO 8601 with a space, a fraction without trailing zeros, at midnight the date alone; with a time zone, in UTC.
Times of day: hours and minutes; seconds, with a fraction without trailing zeros, unless they are zero.
"""

from __future__ import annotations

import datetime
import re

import pyarrow as pa

_FIRST_CHARACTERS = frozenset("-.0123456789tTfF")  # other texts are their own canonical form
_NUMBER = re.compile(
    r"-?(?:(?:0|[1-9][0-9]*)\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"  # with a decimal point
    r"|-?(?:0|[1-9][0-9]*)[eE][+-][0-9]+"
)
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?: ?(Z|UTC|[+-][0-9]{2}(?::?[0-9]{2})?))?"
)
_TIME_OF_DAY = re.compile(r"((?:[01][0-9]|2[0-3]):[0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?")
_BOOLEANS = {"true": "True", "false": "False"}
MAX_CONVERTED = 64  # texts; of more, each distinct one is converted once
MAX_DIGITS = 17  # of a float64; a longer number only loses its trailing zeros
MAX_WHOLE_NUMBER = 1e21  # from here on, JavaScript writes an exponent too


def canonicalize_texts(values: pa.Array) -> pa.Array:
    """Return the canonical form of each text; null stays null."""
    if len(values) <= MAX_CONVERTED:
        return pa.array([text if text is None else canonical_text(text) for text in values.to_pylist()], pa.string())
    encoded = values.dictionary_encode()
    canonical = [canonical_text(text) for text in encoded.dictionary.to_pylist()]
    return pa.array(canonical, pa.string()).take(encoded.indices)


def canonical_text(text: str) -> str:
    """Return the canonical form of a text: 3.0, "3.00" and "3" are "3", and TRUE is "True"."""
    if text[:1] not in _FIRST_CHARACTERS:
        return text
    if text == "-0":
        return "0"
    if _NUMBER.fullmatch(text):
        return _canonical_number(text)
    if time := _TIME.fullmatch(text):
        return _canonical_time(time)
    if time := _TIME_OF_DAY.fullmatch(text):
        return _canonical_time_of_day(*time.groups())
    return _BOOLEANS.get(text.lower(), text)


def _canonical_number(text: str) -> str:
    mantissa = re.split("[eE]", text)[0].strip("-")
    whole, _, fraction = mantissa.partition(".")
    fraction = fraction.rstrip("0")
    number = float(text)
    if len((whole + fraction).lstrip("0")) > MAX_DIGITS or number in (float("inf"), float("-inf")):
        is_plain = text.strip("-") == mantissa and "." in text
        return text.rstrip("0").rstrip(".") if is_plain else text
    if number.is_integer() and abs(number) < MAX_WHOLE_NUMBER:
        return str(int(number))
    return repr(number)


def _canonical_time(match: re.Match[str]) -> str:
    *parts, fraction, zone = match.groups()
    try:
        time = datetime.datetime(*(int(part or 0) for part in parts))  # type: ignore[arg-type]
        if zone is not None:
            time -= _utc_offset(zone)
    except (ValueError, OverflowError):
        return match.string  # not a date, such as February 30
    fraction = (fraction or "").rstrip("0")
    if zone is None and time.time() == datetime.time.min and not fraction:
        return str(time.date())
    return f"{time}{'.' * bool(fraction)}{fraction}{'' if zone is None else '+00:00'}"


def _canonical_time_of_day(minutes: str, seconds: str | None, fraction: str | None) -> str:
    fraction = (fraction or "").rstrip("0")
    if fraction:
        return f"{minutes}:{seconds}.{fraction}"
    return minutes if seconds in (None, "00") else f"{minutes}:{seconds}"


def _utc_offset(zone: str) -> datetime.timedelta:
    if zone in ("Z", "UTC"):
        return datetime.timedelta(0)
    sign = -1 if zone[0] == "-" else 1
    return sign * datetime.timedelta(hours=int(zone[1:3]), minutes=int(zone[3:].strip(":") or 0))
