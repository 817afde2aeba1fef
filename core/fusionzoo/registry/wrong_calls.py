"""Find the call with wrong arguments that an exception in a plugin's hook comes from."""

from __future__ import annotations

import inspect
import re
import sys
import traceback
from dataclasses import dataclass

from fusionzoo import errors

CALLEE = re.compile(
    r"([\w.<>]+)\(\) (?:got an unexpected keyword|got multiple values|got some positional|missing \d+ required|takes )"
)


@dataclass(frozen=True)
class WrongCall:
    """A call with arguments that the called class or function does not have.

    `caller` is the line of the plugin's own code that calls; empty if core calls, such as by `Fusion(Settings, Model)`.
    `definition` is the line that defines what is called; empty if it is not part of the plugin.
    """

    callee: str
    caller: str
    definition: str


def find_wrong_call(claim: errors.Claim, cause: TypeError) -> WrongCall | None:
    """Return the call that Python rejected; None if the exception has another reason."""
    match = CALLEE.match(str(cause))
    if match is None:
        return None
    callee = match[1].removesuffix(".__init__")
    package = claim.value.partition(":")[0].partition(".")[0]
    own_lines = [
        f"{frame.f_code.co_filename}, line {line}"
        for frame, line in traceback.walk_tb(cause.__traceback__)
        if str(frame.f_globals.get("__name__", "")).partition(".")[0] == package
    ]
    return WrongCall(callee, own_lines[-1] if own_lines else "", _find_definition(package, callee))


def _find_definition(package: str, name: str) -> str:
    """Return the line that defines a class or function of the package; empty if there is none on a module's level."""
    for module_name, module in list(sys.modules.items()):
        value = vars(module).get(name) if module_name.partition(".")[0] == package else None
        if value is not None and getattr(value, "__module__", "") == module_name:
            try:
                return f"{inspect.getfile(value)}, line {inspect.getsourcelines(value)[1]}"
            except (OSError, TypeError):  # a module without a source file
                return ""
    return ""
