"""The outcome of one of several requests: its result, or the exception that only its client must see."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

Result = TypeVar("Result")


def capture(work: Callable[[], Result]) -> Result | Exception:
    """Return the result of `work`, or the exception that it raises.

    A panic of Rust code, such as that of tokenizers, is not an Exception. It becomes the cause of a RuntimeError.
    """
    try:
        return work()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  whoever receives the outcome raises it for its client
        if isinstance(error, Exception):
            return error
        failure = RuntimeError(f"{type(error).__name__}: {error}")
        failure.__cause__ = error
        return failure
