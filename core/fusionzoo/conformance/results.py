"""A check's type, its result, and the error that it raises."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fusionzoo.errors import ZooError
from fusionzoo.errors.base import shorten

if TYPE_CHECKING:
    from fusionzoo.conformance.subject import Subject

Check = Callable[["Subject"], None]
MAX_MESSAGE_LENGTH = 2_000  # characters; torch lists every backend of an operation in some messages

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

    Without a line of the plugin's own code in the traceback, the innermost line is shown. The message is shortened to
    `MAX_MESSAGE_LENGTH`. `module` is the module that the plugin's entry point names.
    """
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, ZooError):  # which names the place, if there is one
        return f"{error}{notes}"
    if (owner := _find_class_without_forward(error)) is not None:
        fix = f"define forward in {owner.__qualname__}; check its name and its indentation"
        text = f"NotImplementedError: the class {owner.__qualname__} has no method forward. Fix: {fix}"
        return f"{text}\n  {_locate_class(owner)}"
    message = f"{type(error).__name__}: {shorten(str(error), MAX_MESSAGE_LENGTH)}{notes}"
    package = module.partition(".")[0]
    frames = traceback.extract_tb(error.__traceback__)
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    plugin_frames = [f for f, name in zip(frames, modules, strict=True) if name.partition(".")[0] == package]
    if not plugin_frames and (owner := _find_class_with_other_arguments(error)) is not None:
        fix = f"write def forward(self, batch) in {owner.__qualname__}, which core calls as model(batch)"
        return f"{message}. Fix: {fix}\n  {_locate_class(owner)}"
    place = (plugin_frames or list(frames))[-1]
    code = f": {place.line}" if place.line else ""
    return f"{message}\n  at {place.filename}, line {place.lineno}, in {place.name}{code}"


def _find_class_without_forward(error: BaseException) -> type | None:
    """Return the class of the module that was called, but has no method `forward`; None for other errors."""
    *_, (frame, _) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    if frame is None or frame.f_code.co_name != "_forward_unimplemented":  # in which torch raises the error
        return None
    return type(frame.f_locals["self"])


def _find_class_with_other_arguments(error: BaseException) -> type | None:
    """Return the class of the module whose `forward` has other parameters than a batch; None for other errors."""
    *_, (frame, _) = [(None, 0), *traceback.walk_tb(error.__traceback__)]
    if frame is None or frame.f_code.co_name != "_call_impl" or "forward()" not in str(error):
        return None  # torch calls forward in _call_impl, and an error in forward has more frames
    return type(frame.f_locals["self"])


def _locate_class(owner: type) -> str:
    """Return the line in which a class begins, or its module if the class is not in a file."""
    try:
        lines, start = inspect.getsourcelines(owner)
        return f"at {inspect.getfile(owner)}, line {start}, in {owner.__module__}: {lines[0].strip()}"
    except (OSError, TypeError):  # a class without a source file
        return f"in {owner.__module__}"
