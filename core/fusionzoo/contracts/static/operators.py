"""Operators, comparisons, subscripts and the formatting of values."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.machine import Arguments, Machine
from fusionzoo.contracts.static.percent_format import format_percent
from fusionzoo.contracts.static.values import (
    NONE_ATOM,
    UNKNOWN,
    Atom,
    Bound,
    Class,
    Const,
    External,
    Function,
    Instance,
    Mapping,
    ModuleValue,
    Sequence,
    Text,
    Tuple,
    Unknown,
    Value,
    constant,
    join,
    join_all,
    number,
    text,
)

MAX_REPEATS = 64
FLAG = "os.O_"
"""Begins the names of the flags of `os.open`, which are joined: os.O_CREAT | os.O_WRONLY."""
NUMBER_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Div: operator.truediv,
}
ORDERINGS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
SPECIAL_METHODS: dict[type[ast.operator], str] = {ast.Div: "truediv", ast.Add: "add", ast.Mod: "mod", ast.BitOr: "or"}


def truth(value: Value) -> bool | None:
    """Return whether a value counts as true; None if that is not known."""
    found = {_atom_truth(atom) for atom in value}
    return found.pop() if len(found) == 1 else None


def _atom_truth(atom: Atom) -> bool | None:
    if isinstance(atom, Text):
        if atom.is_path or texts.ANY_PART.sub("", atom.value) or texts.NAME_PART in atom.value:
            return True
        return None if atom.value else False
    if isinstance(atom, Const):
        return bool(atom.value)
    if isinstance(atom, Tuple):
        return bool(atom.items)
    if isinstance(atom, Sequence):
        return bool(atom.items) if atom.is_exact else None
    if isinstance(atom, Mapping):
        if set(atom.entries) - atom.optional:
            return True
        return None if atom.entries or atom.rest else False
    if isinstance(atom, External):
        is_flag = atom.name.endswith("TYPE_CHECKING")
        return False if is_flag else True if atom.name.startswith("builtins.") else None
    if isinstance(atom, Instance):
        has_own = atom.owner is None or any(atom.owner.find(name) for name in ("__bool__", "__len__"))
        return None if has_own or (atom.owner is not None and atom.owner.all_external_bases()) else True
    return True if isinstance(atom, Function | Class | Bound | ModuleValue) else None


def filter_truth(value: Value, expected: bool) -> Value:
    """Return the alternatives that may count as true, or as false."""
    return tuple(atom for atom in value if _atom_truth(atom) is not (not expected))


def compare(machine: Machine, operation: ast.cmpop, left: Value, right: Value, node: ast.AST) -> bool | None:
    """Return the result of a comparison; None if it is not known."""
    found = {_compare_atoms(machine, operation, first, second, node) for first in left for second in right}
    return found.pop() if len(found) == 1 else None


def _compare_atoms(machine: Machine, operation: ast.cmpop, left: Atom, right: Atom, node: ast.AST) -> bool | None:
    if isinstance(operation, ast.In | ast.NotIn):
        found = _contains(machine, right, left, node)
        return found if found is None or isinstance(operation, ast.In) else not found
    if isinstance(operation, ast.Is | ast.IsNot | ast.Eq | ast.NotEq):
        found = _is_equal(left, right)
        return found if found is None or isinstance(operation, ast.Is | ast.Eq) else not found
    if isinstance(left, Const) and isinstance(right, Const):
        try:
            return bool(ORDERINGS[type(operation)](left.value, right.value))
        except TypeError:
            return None
    return None


def _is_equal(left: Atom, right: Atom) -> bool | None:
    if isinstance(left, Text) and isinstance(right, Text):
        if texts.is_known(left.value) and texts.is_known(right.value):
            return left.value == right.value
        first, second = texts.known_prefix(left.value), texts.known_prefix(right.value)
        return None if first.startswith(second) or second.startswith(first) else False
    if isinstance(left, Const) and isinstance(right, Const):
        return bool(left.value == right.value)
    if isinstance(left, Tuple) and isinstance(right, Tuple):
        return True if left == right and all(len(item) == 1 for item in left.items) else None
    if isinstance(left, Instance | Class | Function) and isinstance(right, Instance | Class | Function):
        return True if left is right else None if isinstance(left, Instance) else False
    known = (Text, Const, Tuple, Function, Class, Instance, Sequence, Mapping)
    return False if isinstance(left, known) and isinstance(right, known) else None


def _contains(machine: Machine, container: Atom, item: Atom, node: ast.AST) -> bool | None:
    if isinstance(container, External) and container.name == "os.environ":
        if isinstance(item, Text) and texts.is_known(item.value):
            given = machine.recorder.record_variable(machine, item.value, node)
            return True if given != text(texts.ENVIRONMENT_PART) else None  # SageMaker sets the variable
        return None
    if isinstance(container, Text) and isinstance(item, Text):
        if texts.is_known(container.value):
            return item.value in container.value if texts.is_known(item.value) else None
        return True if texts.is_known(item.value) and item.value in container.value else None
    if isinstance(container, Mapping) and item in container.entries:
        return None if item in container.optional else True
    items = items_of(container)
    is_exact = not (isinstance(container, Sequence) and not container.is_exact)
    if items is None or (isinstance(container, Mapping) and container.rest):
        return None
    results = [_is_equal(item, other) for value in items for other in value]
    if True in results and is_exact and all(len(value) == 1 for value in items):
        return True
    return False if all(result is False for result in results) and is_exact else None


def binary(machine: Machine, node: ast.BinOp, left: Value, right: Value) -> Value:
    """Return the result of an operator with two operands."""
    if isinstance(node.op, ast.Mod) and any(isinstance(atom, Text) for atom in left):
        return join_all(format_percent(atom.value, right) for atom in left if isinstance(atom, Text))
    return join_all(_binary_atoms(machine, node, first, second) for first in left for second in right)


def _binary_atoms(machine: Machine, node: ast.BinOp, left: Atom, right: Atom) -> Value:
    kind = type(node.op)
    if isinstance(left, Instance | Class) or isinstance(right, Instance):
        return _call_special_method(machine, node, left, right)
    if kind is ast.Div and isinstance(left, Text):  # strings have no division, so one of the two is a path
        second = right.value if isinstance(right, Text) else texts.UNKNOWN_PART
        return text(texts.join_path(left.value, second), True)
    if kind is ast.Add and (isinstance(left, Text) or isinstance(right, Text)):
        pieces = [atom.value if isinstance(atom, Text) else texts.UNKNOWN_PART for atom in (left, right)]
        return text("".join(pieces))
    if kind is ast.Div and isinstance(right, Text) and right.is_path:
        return text(texts.join_path(texts.UNKNOWN_PART, right.value), True)
    if kind is ast.BitOr and isinstance(left, Mapping):
        merged = machine.heap.mapping(left.entries, left.rest)
        merged.optional = set(left.optional)
        update_mapping(machine, merged, (right,))
        return (merged,)
    if kind is ast.BitOr and all(isinstance(atom, External) and atom.name.startswith(FLAG) for atom in (left, right)):
        return (External("|".join(dict.fromkeys([*_list_flags(left), *_list_flags(right)]))),)
    items, others = items_of(left), items_of(right)
    if kind in (ast.Add, ast.BitOr) and items is not None and others is not None:
        is_exact = all(not isinstance(atom, Sequence) or atom.is_exact for atom in (left, right))
        if isinstance(left, Tuple) and is_exact:
            return (Tuple((*items, *others)),)
        return (machine.heap.sequence([*items, *others], is_exact),)
    if kind is ast.Mult:
        return _repeat(machine, left, right)
    return _calculate(kind, left, right)


def _list_flags(atom: Atom) -> list[str]:
    return getattr(atom, "name", "").split("|")


def _call_special_method(machine: Machine, node: ast.BinOp, left: Atom, right: Atom) -> Value:
    name = SPECIAL_METHODS.get(type(node.op))
    for atom, method, other in ((left, f"__{name}__", right), (right, f"__r{name}__", left)):
        if name and isinstance(atom, Instance) and atom.owner is not None and atom.owner.find(method):
            return machine.call(machine.get_attribute((atom,), method, node), Arguments([(other,)]), node) or UNKNOWN
    return UNKNOWN


def _repeat(machine: Machine, left: Atom, right: Atom) -> Value:
    for repeated, count in ((left, right), (right, left)):
        if isinstance(count, Const) and isinstance(count.value, int) and 0 <= count.value <= MAX_REPEATS:
            if isinstance(repeated, Text):
                return text(repeated.value * count.value)
            if isinstance(repeated, Tuple):
                return (Tuple(repeated.items * count.value),)
            if isinstance(repeated, Sequence):
                return (machine.heap.sequence(repeated.items * count.value, repeated.is_exact),)
    return _calculate(ast.Mult, left, right)


def _calculate(kind: type[ast.operator], left: Atom, right: Atom) -> Value:
    calculate = NUMBER_OPERATORS.get(kind)
    if calculate is None or not isinstance(left, Const) or not isinstance(right, Const):
        return UNKNOWN
    if not all(isinstance(atom.value, int | float) and abs(atom.value) < 1e15 for atom in (left, right)):
        return UNKNOWN
    try:
        return constant(calculate(left.value, right.value))
    except (ArithmeticError, ValueError):
        return UNKNOWN


def to_text(value: Value) -> Value:
    """Return the value as `str` converts it."""
    return join_all(format_value((atom,), -1, "") for atom in value)


def format_value(value: Value, conversion: int, specification: str | None) -> Value:
    """Return the value as an f-string formats it; `specification` is None if it is not known."""
    found = []
    for atom in value:
        piece = texts.UNKNOWN_PART
        known = atom.value if isinstance(atom, Text | Const) else None
        if known is not None or atom == NONE_ATOM:
            piece = _format_known(known, conversion, specification)
        found.append(text(piece))
    return join_all(found)


def _format_known(known: object, conversion: int, specification: str | None) -> str:
    if specification is None:
        return texts.UNKNOWN_PART
    try:
        shown = repr(known) if conversion == ord("r") else known
        if isinstance(shown, str) and not texts.is_known(shown) and specification not in ("", "s"):
            return texts.UNKNOWN_PART
        return format(shown, specification) if specification and len(specification) < 8 else str(shown)
    except (ValueError, TypeError, OverflowError):
        return texts.UNKNOWN_PART


def single_key(value: Value) -> Atom | None:
    """Return the key of a dict that a value certainly is; None if it is not known."""
    if len(value) != 1 or isinstance(value[0], Unknown):
        return None
    atom = value[0]
    if isinstance(atom, Text):
        return Text(atom.value) if texts.is_known(atom.value) else None
    return atom


def update_mapping(machine: Machine, target: Mapping, value: Value) -> None:
    """Add the entries of another dict, or of an iterable of pairs, to a dict."""
    for atom in value:
        if isinstance(atom, Mapping):
            for key, item in atom.entries.items():
                old = target.entries.get(key, ()) if key in atom.optional else ()
                is_new = key in atom.optional and key not in target.entries
                machine.heap.set_item(target, key, join(old, item))
                if is_new:
                    target.optional.add(key)
            if atom.rest:
                machine.heap.set_item(target, None, atom.rest)
        elif isinstance(atom, Sequence | Tuple):
            for pair in items_of(atom) or []:
                if len(pair) == 1 and isinstance(pair[0], Tuple) and len(pair[0].items) == 2:
                    machine.heap.set_item(target, single_key(pair[0].items[0]), pair[0].items[1])
        elif atom != NONE_ATOM:
            machine.heap.set_item(target, None, UNKNOWN)


def take_slice(machine: Machine, atom: Atom, bounds: list[Value | None]) -> Value:
    """Return a slice of a string or container."""
    numbers = [None if bound is None else number(bound) for bound in bounds]
    is_known = all(bound is None or found is not None for bound, found in zip(bounds, numbers, strict=True))
    cut = slice(*numbers) if 0 not in numbers[2:] else slice(None)
    if isinstance(atom, Text):
        return _slice_text(atom.value, numbers) if is_known else text(texts.UNKNOWN_PART)
    if isinstance(atom, Tuple) and is_known:
        return (Tuple(atom.items[cut]),)
    items = items_of(atom)
    if items is None:
        return UNKNOWN
    if is_known and not (isinstance(atom, Sequence) and not atom.is_exact):
        return (machine.heap.sequence(items[cut]),)
    return (machine.heap.sequence(items, is_exact=False),)


def _slice_text(value: str, numbers: list[int | None]) -> Value:
    start, stop, step = numbers
    if texts.is_known(value):
        return text(value[start:stop:step]) if step != 0 else UNKNOWN
    first, last = len(texts.known_prefix(value)), len(texts.known_prefix(value[::-1]))
    start_is_known = start is None or 0 <= start <= first
    stop_is_known = stop is None or (0 <= stop <= first) or (stop < 0 and -stop <= last)
    return text(value[start:stop]) if step in (None, 1) and start_is_known and stop_is_known else UNKNOWN


def get_constant_text(value: Value | None) -> str | None:
    """Return the string that an argument certainly is; None if it is not given or not known."""
    if value is None or len(value) != 1 or not isinstance(value[0], Text):
        return None
    return value[0].value if texts.is_known(value[0].value) else None


def binary_texts(symbol: str, left: Value, right: Value) -> Value:
    """Return what `operator.truediv` and `operator.add` return for paths and strings."""
    found = []
    for first in left:
        for second in right:
            pieces = [atom.value if isinstance(atom, Text) else texts.UNKNOWN_PART for atom in (first, second)]
            is_path = symbol == "/"
            found.append(text(texts.join_path(*pieces) if is_path else "".join(pieces), is_path))
    return join_all(found)
