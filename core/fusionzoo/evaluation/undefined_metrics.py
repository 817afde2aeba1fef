"""Ratios and means of metrics that may be undefined, which is None."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


def divide(numerator: float, denominator: float) -> float | None:
    """Return the ratio; None if the denominator is 0."""
    return float(numerator / denominator) if denominator else None


def mean_of_defined(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined; None without one."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def mean_of_all(values: Iterable[float | None]) -> float | None:
    """Return the mean; None if a value is undefined, or without values."""
    every = list(values)
    return None if None in every else mean_of_defined(every)
