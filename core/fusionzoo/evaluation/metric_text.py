"""The text of a metric, for people and for the regular expressions of tuning jobs."""

from __future__ import annotations

import math

SMALL = 0.1  # values below it lose significant digits with 4 decimals
DECIMALS, SIGNIFICANT_DIGITS = 6, 4  # of a `#metric` line


def format_metric(value: float | None, sign: str = "") -> str:
    """Return a value with 4 decimals, or with 4 significant digits if decimals would hide a small one.

    None is "undefined". With `sign` "+", a positive value has its sign.
    """
    if value is None:
        return "undefined"
    return f"{value:{sign}#.4g}" if 0 < abs(value) < SMALL else f"{value:{sign}.4f}"


def format_metric_line(name: str, value: float) -> str:
    """Return `#metric name=value;`, which tuning jobs parse; `/` of the name becomes `_`.

    The value has no exponent, so that `[-0-9.]+` matches it, and six decimals, or more for four significant digits.
    """
    decimals = DECIMALS
    if value and math.isfinite(value):
        decimals = max(decimals, SIGNIFICANT_DIGITS - 1 - math.floor(math.log10(abs(value))))
    return f"#metric {name.replace('/', '_')}={value:.{decimals}f};"
