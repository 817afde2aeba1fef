"""How a check ends."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from typing import Literal

Status = Literal["passed", "failed", "excused", "stale"]


class ConformanceError(AssertionError):
    """A plugin does not keep a promise: what was seen, and what usually causes it."""


@dataclass(frozen=True)
class CheckResult:
    """One check of one subject. `detail` says what is wrong, or why that is excused; empty where it passed.

    `stale` is an excuse for a check that passes. `seconds` is the time that the check took.
    """

    check: str
    subject: str
    status: Status
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the plugin keeps this promise, or is excused from it."""
        return self.status in ("passed", "excused")


def describe(fault: BaseException, module: str) -> str:
    """An exception in one paragraph: its type, its message, and where it came up in the plugin that has this module."""
    package = module.partition(".")[0]
    frames = traceback.extract_tb(fault.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(fault.__traceback__)]
    own = [f for f, module in zip(frames, modules, strict=True) if module.partition(".")[0] == package]
    place = (own or list(frames))[-1]
    code = f": {place.line}" if place.line else ""
    notes = "".join(f"\n  {note}" for note in getattr(fault, "__notes__", ()))
    return f"{type(fault).__name__}: {fault}{notes}\n  at {place.filename}, line {place.lineno}, in {place.name}{code}"
