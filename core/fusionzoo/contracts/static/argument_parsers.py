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
SAME_PARSER = ("add_argument_group", "add_mutually_exclusive_group", "add_subparsers", "add_parser")


def make_parser(machine: Machine, call: Call) -> Value:
    """Return a parser without arguments."""
    return (machine.heap.instance(None, "parser"),)


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
    if call.name == "set_defaults":
        for name, value in call.arguments.keywords.items():
            parser.attributes[name] = value
        return NONE
    if call.name in ("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args"):
        found = machine.heap.instance(None, "namespace")
        found.attributes |= parser.attributes
        rest = machine.heap.sequence([text(texts.ARGUMENT_PART)], is_exact=False)
        return (Tuple(((found,), (rest,))),) if "known" in call.name else (found,)
    if call.name == "get_default":
        return parser.attributes.get(get_constant_text(call.get(0)) or "", NONE)
    if call.name in ("error", "exit"):
        return ()
    return None


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
