"""A check's type, its result, and the error that it raises."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from fusionzoo.conformance.subject import Subject

Check = Callable[["Subject"], None]
Status = Literal["passed", "failed", "xfailed", "xpassed"]


class ConformanceError(AssertionError):
    """A plugin breaks the contract. The message says what was observed, why it matters, and how to fix it."""


@dataclass(frozen=True)
class CheckResult:
    """The result of one check of one subject.

    `detail` describes the failure, and is empty if the check passed. As in pytest, `xfailed` is a
    failure that the plugin's author expects, and `xpassed` an expected failure that passed. `seconds` is the duration.
    """

    check: str
    subject: str
    status: Status
    detail: str
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether the check passed, or failed as expected."""
        return self.status in ("passed", "xfailed")


def describe_cause(error: Exception, module: str) -> str:
    """Return the message of a failed check, or what `describe_exception` says of another exception."""
    return str(error) if isinstance(error, ConformanceError) else describe_exception(error, module)


def describe_exception(error: BaseException, module: str) -> str:
    """Return the type and message of an exception, and the line of the plugin's own code that raised it.

    Without a line of the plugin's own code in the traceback, the innermost line is shown. `module` is the module that
    the plugin's entry point names.
    """
    if (owner := _find_class_without_forward(error)) is not None:
        return _describe_missing_forward(owner)
    package = module.partition(".")[0]
    frames = traceback.extract_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    plugin_frames = [f for f, name in zip(frames, modules, strict=True) if name.partition(".")[0] == package]
    place = (plugin_frames or list(frames))[-1]
    code = f": {place.line}" if place.line else ""
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    return f"{type(error).__name__}: {error}{notes}\n  at {place.filename}, line {place.lineno}, in {place.name}{code}"


def _find_class_without_forward(error: BaseException) -> type | None:
    """Return the class of the module that was called, but has no method `forward`; None for other errors."""
    *_, (frame, _) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    if frame is None or frame.f_code.co_name != "_forward_unimplemented":  # in which torch raises the error
        return None
    return type(frame.f_locals["self"])


def _describe_missing_forward(owner: type) -> str:
    """Return the error of torch with the fix, and the line in which the class begins, if it is in a file."""
    text = (
        f"NotImplementedError: the class {owner.__qualname__} has no method forward. Fix: define forward in "
        f"{owner.__qualname__}; check its name and its indentation"
    )
    try:
        lines, start = inspect.getsourcelines(owner)
        return f"{text}\n  at {inspect.getfile(owner)}, line {start}, in {owner.__module__}: {lines[0].strip()}"
    except (OSError, TypeError):  # a class without a source file
        return f"{text}\n  in {owner.__module__}"
