"""Command-line arguments: `argparse`, and Hugging Face's `HfArgumentParser`. An argument has its default."""

from __future__ import annotations

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.values import (
    FALSE,
    NONE,
    TRUE,
    UNKNOWN,
    Class,
    Instance,
    Result,
    Text,
    Tuple,
    Value,
    join,
    text,
)

PARSERS = (
    "argparse.ArgumentParser",
    "configargparse.ArgumentParser",
    "configargparse.ArgParser",
    "jsonargparse.ArgumentParser",
)
DATACLASS_PARSERS = (
    "transformers.HfArgumentParser",
    "transformers.hf_argparser.HfArgumentParser",
    "trl.TrlParser",
    "simple_parsing.ArgumentParser",
)
SAME_PARSER = ("add_argument_group", "add_mutually_exclusive_group")
PARSE_METHODS = ("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args")
HIDDEN = "."
"""Begins the attributes of a parser that are not arguments: no argument of a program can have such a name."""
CHILDREN, OPTION = f"{HIDDEN}children", f"{HIDDEN}option "


def make_parser(machine: Machine, call: Call) -> Value:
    """Return a parser with the arguments of its `parents`."""
    parser = machine.heap.instance(None, "parser")
    add_parents(machine, parser, call)
    return (parser,)


def add_parents(machine: Machine, parser: Instance, call: Call) -> None:
    """Give a parser the arguments of the parsers that the call names as its `parents`."""
    parents = call.arguments.keywords.get("parents")
    for item in machine.iterate(parents, call.node)[0] if parents is not None else ():
        for atom in item:
            if isinstance(atom, Instance):
                parser.attributes |= {name: value for name, value in atom.attributes.items() if name != CHILDREN}


def make_dataclass_parser(machine: Machine, call: Call) -> Value:
    """Return a parser that fills dataclasses."""
    parser = machine.heap.instance(None, "dataclass parser")
    parser.attributes["types"] = call.get(0, "dataclass_types") or UNKNOWN
    return (parser,)


def parser_method(machine: Machine, call: Call, parser: Instance) -> Value | None:
    """Return the result of a method of a parser; None if it is not one that is modeled."""
    if parser.kind == "dataclass parser":
        return _parse_dataclasses(machine, call, parser)
    if call.name in ("add_argument", "add"):
        _add_argument(machine, call, parser)
        return NONE
    if call.name in SAME_PARSER:
        return (parser,)
    if call.name == "add_subparsers":
        destination = get_constant_text(call.arguments.keywords.get("dest"))
        if destination is not None:
            parser.attributes[destination] = text(texts.ARGUMENT_PART)
        return (parser,)
    if call.name == "add_parser":
        child = machine.heap.instance(None, "parser")
        add_parents(machine, child, call)
        parser.attributes[CHILDREN] = (*parser.attributes.get(CHILDREN, ()), child)
        return (child,)
    if call.name == "set_defaults":
        for name, value in call.arguments.keywords.items():
            parser.attributes[name] = value
        return NONE
    if call.name in PARSE_METHODS:
        found = _parse(machine, call, parser)
        rest = machine.heap.sequence([text(texts.ARGUMENT_PART)], is_exact=False)
        return (Tuple((found, (rest,))),) if "known" in call.name else found
    if call.name == "get_default":
        return parser.attributes.get(get_constant_text(call.get(0)) or "", NONE)
    if call.name in ("error", "exit"):
        return ()
    return None


def _parse(machine: Machine, call: Call, parser: Instance) -> Value:
    """Return the namespace that a parser fills: a new one, or the object that the call gives as `namespace`."""
    values = _list_values(parser)
    values |= _read_given(machine, call, parser)
    namespaces = call.get(1, "namespace") or NONE
    if not all(isinstance(atom, Instance) for atom in namespaces):
        found = machine.heap.instance(None, "namespace")
        found.attributes |= values
        return (found,)
    for atom in namespaces:
        for name, value in values.items():
            if isinstance(atom, Instance):
                has_default = name in atom.attributes or (atom.owner is not None and atom.owner.find(name))
                default = machine.get_attribute((atom,), name, call.node) if has_default else value
                machine.heap.set_attribute(atom, name, default)
    return namespaces


def _list_values(parser: Instance) -> dict[str, Value]:
    """Return the arguments of a parser and of its commands; only one of the commands is given, so any may count."""
    found = {name: value for name, value in parser.attributes.items() if not name.startswith(HIDDEN)}
    for child in parser.attributes.get(CHILDREN, ()):
        for name, value in _list_values(child).items() if isinstance(child, Instance) else ():
            found[name] = join(found.get(name, ()), value)
    return found


def _read_given(machine: Machine, call: Call, parser: Instance) -> dict[str, Value]:
    """Return the arguments in a list that the program itself gives, such as `parse_args(["--epochs", "3"])`."""
    given = call.get(0, "args")
    items, is_exact = machine.iterate(given, call.node) if given not in (None, NONE) else ([], True)
    words = [get_constant_text(item) for item in items]
    found: dict[str, Value] = {}
    for position, word in enumerate(words if is_exact else ()):
        option, is_joined, value = (word or "").partition("=")
        destination = get_constant_text(parser.attributes.get(f"{OPTION}{option}"))
        if destination is not None and is_joined:
            found[destination] = text(value)
        elif destination is not None and position + 1 < len(items):
            found[destination] = items[position + 1]
    return found


def _add_argument(machine: Machine, call: Call, parser: Instance) -> None:
    names = [name for value in call.arguments.positional if (name := get_constant_text(value))]
    destination = get_constant_text(call.arguments.keywords.get("dest"))
    if destination is None:
        if not names:
            machine.note("the name of a command-line argument is not known", call.node)
            return
        long = [name for name in names if name.startswith("--")] or names
        destination = long[0].lstrip("-").replace("-", "_")
    action = get_constant_text(call.arguments.keywords.get("action"))
    default = call.arguments.keywords.get("default")
    if default is None and action in ("store_true", "store_false"):
        default = FALSE if action == "store_true" else TRUE
    is_required = call.arguments.keywords.get("required") == TRUE or not names[0:1] or not names[0].startswith("-")
    given = machine.recorder.record_option(destination)
    if given is not None:
        default = given
    elif default is None:
        default = text(texts.ARGUMENT_PART) if is_required else join(text(texts.ARGUMENT_PART), NONE)
    convert = call.arguments.keywords.get("type")
    if convert is not None:
        default = join(*(_convert(machine, (atom,), convert, call) for atom in default))
    parser.attributes[destination] = default
    if action in (None, "store"):
        parser.attributes |= {f"{OPTION}{name}": text(destination) for name in names}


def _convert(machine: Machine, default: Value, convert: Value, call: Call) -> Value:
    """Return a default as argparse converts it: only texts are."""
    if not isinstance(default[0], Text):
        return default
    return machine.call(convert, Arguments([default]), call.node) or UNKNOWN


def _parse_dataclasses(machine: Machine, call: Call, parser: Instance) -> Value | None:
    if not call.name.startswith("parse"):
        return None
    types = parser.attributes.get("types", UNKNOWN)
    owners: list[Value] = [types]
    if len(types) == 1 and not isinstance(types[0], Class):
        owners, is_exact = machine.iterate(types, call.node)
        if not is_exact:
            return UNKNOWN
    found = []
    for owner in owners:
        made = machine.call(owner, Arguments(), call.node) or UNKNOWN
        found.append(tuple(Result("arguments") if isinstance(atom, Result) else atom for atom in made))
    return (Tuple(tuple(found)),)
