"""The methods of strings, on texts that may have unknown parts."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from string import Formatter

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.operators import format_value, get_constant_text
from fusionzoo.contracts.static.path_operations import as_texts
from fusionzoo.contracts.static.values import (
    BOOL,
    UNKNOWN,
    UNKNOWN_TEXT,
    Mapping,
    Text,
    Tuple,
    Value,
    constant,
    join,
    join_all,
    number,
    text,
)

MAX_RESULTS = 16
UNCHANGED = ("encode", "decode", "__str__", "expandtabs", "center", "ljust", "rjust")
PLAIN = ("strip", "rstrip", "lstrip", "lower", "upper", "title", "capitalize", "casefold", "swapcase")
ONE_ARGUMENT = ("strip", "rstrip", "lstrip", "removeprefix", "removesuffix")
TESTS = ("isdigit", "isidentifier", "isalpha", "isalnum", "isspace", "islower", "isupper", "isnumeric")
FIELD = re.compile(r"(?P<first>[^.\[]*)(?P<rest>.*)", re.DOTALL)


def string_method(machine: Machine, call: Call, value: str) -> Value | None:
    """Return the result of a method of a string; None if it is not one that is modeled."""
    name = call.name
    if name in UNCHANGED:
        return text(value)
    if name in PLAIN and not call.arguments.positional:
        return text(getattr(value, name)())
    if name in ONE_ARGUMENT:
        return join(*(text(getattr(value, name)(argument)) for argument in as_texts(call.first())))
    if name in TESTS and texts.is_known(value):
        return constant(getattr(value, name)())
    method = METHODS.get(name)
    return None if method is None else method(machine, call, value)


def _replace(machine: Machine, call: Call, value: str) -> Value:
    old, new = as_texts(call.first()), as_texts(call.get(1) or UNKNOWN)
    count = number(call.get(2, "count") or constant(-1))
    pairs = [pair for pair in product(old, new) if pair[0]][:MAX_RESULTS]
    return join_all(text(value.replace(*pair, -1 if count is None else count)) for pair in pairs)


def _join(machine: Machine, call: Call, value: str) -> Value:
    results = []
    for atom in call.first():
        items = items_of(atom)
        if items is None:
            items, is_exact = machine.iterate((atom,), call.node)
        else:
            is_exact = getattr(atom, "is_exact", True)
        if not is_exact:
            results.append(UNKNOWN_TEXT)
            continue
        joined = [""]
        for position, item in enumerate(items):
            separator = value if position else ""
            joined = [f"{head}{separator}{piece}" for head in joined for piece in as_texts(item)][:MAX_RESULTS]
        results += [text(piece) for piece in joined]
    return join(*results) or UNKNOWN_TEXT


def _split(machine: Machine, call: Call, value: str) -> Value:
    separator = get_constant_text(call.get(0, "sep"))
    limit = number(call.get(1, "maxsplit") or constant(-1))
    parts: list[str] = getattr(value, call.name)(separator or None, -1 if limit is None else limit)
    return (machine.heap.sequence([text(part) for part in parts]),)


def _partition(machine: Machine, call: Call, value: str) -> Value:
    separator = get_constant_text(call.get(0))
    parts = getattr(value, call.name)(separator) if separator else [texts.UNKNOWN_PART] * 3
    return (Tuple(tuple(text(part) for part in parts)),)


def _split_lines(machine: Machine, call: Call, value: str) -> Value:
    return (machine.heap.sequence([text(line) for line in value.splitlines()]),)


def _starts_with(machine: Machine, call: Call, value: str) -> Value:
    known = value if call.name == "startswith" else value[::-1]
    known, is_all = texts.known_prefix(known), texts.is_known(value)
    results = set()
    for atom in call.first():
        options = [option for item in atom.items for option in item] if isinstance(atom, Tuple) else [atom]
        found = [_compare_start(known, is_all, option, call.name) for option in options]
        results.add(True if True in found else None if None in found else False)
    result = results.pop() if len(results) == 1 else None
    return BOOL if result is None else constant(result)


def _compare_start(known: str, is_all: bool, option: object, name: str) -> bool | None:
    if not isinstance(option, Text) or not texts.is_known(option.value):
        return None
    wanted = option.value if name == "startswith" else option.value[::-1]
    if len(known) >= len(wanted) or is_all:
        return known.startswith(wanted)
    return None if wanted.startswith(known) else False


def _format(machine: Machine, call: Call, value: str) -> Value:
    try:
        parts = list(Formatter().parse(value))
    except ValueError:
        return UNKNOWN_TEXT
    results, automatic = [""], 0
    for literal, field, specification, conversion in parts:
        pieces = [""]
        if field is not None:
            match = FIELD.match(field)
            first = match["first"] if match else ""
            if not first:
                first, automatic = str(automatic), automatic + 1
            found = _find_field(machine, call, first, match["rest"] if match else "")
            spec = specification if specification is None or "{" not in specification else None
            code = ord(conversion) if conversion else -1
            pieces = as_texts(format_value(found, code, spec or "" if spec is not None else None))
        results = [f"{head}{literal}{piece}" for head in results for piece in pieces][:MAX_RESULTS]
    return join(*(text(result) for result in results))


def _find_field(machine: Machine, call: Call, first: str, rest: str) -> Value:
    value = call.get(int(first)) if first.isdigit() else call.arguments.keywords.get(first)
    if value is None and call.name == "format_map":
        value = join_all(_entry(atom, first) for atom in call.first())
    for part in re.findall(r"\.\w+|\[[^\]]*\]", rest):
        if value is not None and part.startswith("."):
            value = machine.get_attribute(value, part[1:], call.node)
        elif value is not None:
            value = join_all(_entry(atom, part[1:-1]) for atom in value)
    return value or call.arguments.rest or UNKNOWN


def _entry(atom: object, key: str) -> Value:
    if isinstance(atom, Mapping):
        return atom.entries.get(Text(key), UNKNOWN)
    if isinstance(atom, Tuple) and key.isdigit() and int(key) < len(atom.items):
        return atom.items[int(key)]
    return UNKNOWN


METHODS: dict[str, Callable[[Machine, Call, str], Value]] = {
    "replace": _replace,
    "join": _join,
    "split": _split,
    "rsplit": _split,
    "partition": _partition,
    "rpartition": _partition,
    "splitlines": _split_lines,
    "startswith": _starts_with,
    "endswith": _starts_with,
    "format": _format,
    "format_map": _format,
}
