"""Format texts with `%`, as far as the values are known."""

from __future__ import annotations

import re

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.values import Const, Mapping, Text, Tuple, Value, join, text

DIRECTIVE = re.compile(r"%(?:\((?P<name>[^)]*)\))?(?P<flags>[-#0 +]*[0-9]*(?:\.[0-9]+)?)(?P<kind>[a-zA-Z%])")
MAX_RESULTS = 16


def format_percent(template: str, value: Value) -> Value:
    """Return `template % value`."""
    results = [""]
    position, used = 0, 0
    for match in DIRECTIVE.finditer(template):
        literal = template[position : match.start()]
        position = match.end()
        if match["kind"] == "%":
            pieces = ["%"]
        else:
            pieces = _pieces(match, _select(value, match["name"], used))
            used += match["name"] is None
        results = list(dict.fromkeys(f"{head}{literal}{piece}" for head in results for piece in pieces))[:MAX_RESULTS]
    return join(*(text(result + template[position:]) for result in results))


def _select(value: Value, name: str | None, position: int) -> Value:
    """Return the argument of a directive; () if it is not known."""
    atom = value[0] if len(value) == 1 else None
    if name is not None:
        return atom.entries.get(Text(name), ()) if isinstance(atom, Mapping) else ()
    if isinstance(atom, Tuple):
        return atom.items[position] if position < len(atom.items) else ()
    return value if position == 0 else ()


def _pieces(match: re.Match[str], value: Value) -> list[str]:
    found = []
    for atom in value:
        piece = texts.UNKNOWN_PART
        if isinstance(atom, Text) and match["kind"] == "s" and not match["flags"]:
            piece = atom.value
        elif isinstance(atom, Text | Const) and len(match["flags"]) < 6:
            try:
                piece = f"%{match['flags']}{match['kind']}" % (atom.value,)
            except (TypeError, ValueError, OverflowError):
                piece = texts.UNKNOWN_PART
        found.append(piece)
    return found or [texts.UNKNOWN_PART]
