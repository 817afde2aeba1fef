"""The abstract values of the analysis. A `Value` is a tuple of alternatives: what an expression may be at run time."""

from __future__ import annotations

from collections.abc import Iterable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.atoms import (
    Atom,
    Bound,
    Class,
    Const,
    External,
    File,
    Function,
    Instance,
    Mapping,
    Method,
    ModuleValue,
    Partial,
    Result,
    Sequence,
    Super,
    Text,
    Tuple,
    Unknown,
    Value,
)

__all__ = [
    "BOOL",
    "FALSE",
    "MAX_ALTERNATIVES",
    "NONE",
    "NONE_ATOM",
    "TRUE",
    "UNKNOWN",
    "UNKNOWN_ATOM",
    "UNKNOWN_TEXT",
    "Atom",
    "Bound",
    "Class",
    "Const",
    "External",
    "File",
    "Function",
    "Instance",
    "Mapping",
    "Method",
    "ModuleValue",
    "Partial",
    "Result",
    "Sequence",
    "Super",
    "Text",
    "Tuple",
    "Unknown",
    "Value",
    "constant",
    "is_certain",
    "join",
    "join_all",
    "literal",
    "number",
    "text",
    "without_none",
]

MAX_ALTERNATIVES = 24
"""Of one value; what is beyond becomes unknown."""
UNKNOWN_ATOM = Unknown()
UNKNOWN: Value = (UNKNOWN_ATOM,)
NONE_ATOM = Const(None, "NoneType")
NONE: Value = (NONE_ATOM,)
TRUE: Value = (Const(True, "bool"),)
FALSE: Value = (Const(False, "bool"),)
BOOL: Value = (*TRUE, *FALSE)
UNKNOWN_TEXT: Value = (Text(texts.UNKNOWN_PART),)


def constant(value: object) -> Value:
    """Return the value of a constant of Python."""
    if isinstance(value, bytes) and value.isascii():
        value = value.decode("ascii")
    if isinstance(value, str):
        return (Text(texts.clean_literal(value)),)
    return (Const(value, type(value).__name__),)


def text(value: str, is_path: bool = False) -> Value:
    """Return the value of a text that may have unknown parts."""
    return (Text(texts.limit(value), is_path),)


def join(*values: Value) -> Value:
    """Return the alternatives of all values together."""
    first = values[0] if values else ()
    if all(value == first for value in values):
        return first
    atoms = dict.fromkeys(atom for value in values for atom in value)
    if len(atoms) <= MAX_ALTERNATIVES:
        return tuple(atoms)
    kept = [atom for atom in atoms if not isinstance(atom, Unknown)][: MAX_ALTERNATIVES - 1]
    return (*kept, UNKNOWN_ATOM)


def join_all(values: Iterable[Value]) -> Value:
    """Return the alternatives of all values together; unknown without a value."""
    return join(*values) or UNKNOWN


def literal(value: Value) -> str | None:
    """Return the string that a value certainly is; None if it is not known."""
    if len(value) == 1 and isinstance(value[0], Text) and texts.is_known(value[0].value):
        return value[0].value
    return None


def number(value: Value) -> int | None:
    """Return the integer that a value certainly is."""
    if len(value) == 1 and isinstance(value[0], Const) and isinstance(value[0].value, int):
        return value[0].value
    return None


def is_certain(value: Value) -> bool:
    """Return whether there is one alternative, which is known."""
    return len(value) == 1 and not isinstance(value[0], Unknown)


def without_none(value: Value) -> Value:
    """Return the alternatives other than None."""
    return tuple(atom for atom in value if atom != NONE_ATOM)
