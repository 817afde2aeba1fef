"""How a float is written as text, in columns, records and labels alike."""

from __future__ import annotations


def format_number(number: float) -> str | None:
    """Return a float as text: a whole number without a decimal point, None for NaN.

    From 1e16 on, Python (and pandas with it) writes an exponent.
    """
    if number != number:  # NaN is the only value that does not equal itself
        return None
    return str(int(number) if number.is_integer() and abs(float(number)) < 1e16 else number)  # float16 has no 1e16
