"""The outcome of one of several requests: its result, or the exception that only its client must see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def capture(work: Callable[[], Result]) -> Result | Exception:
    """Return the result of `work`, or the exception that it raises."""
    try:
        return work()
    except Exception as error:  # noqa: BLE001  whoever receives the outcome raises it for its client
        return error
