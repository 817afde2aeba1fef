"""Command lines of click, typer, fire, absl and `getopt`. An option has its default, or its environment variable."""

from __future__ import annotations

import ast
from collections.abc import Callable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.environment import read_variable
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.values import (
    FALSE,
    NONE,
    UNKNOWN,
    Atom,
    Class,
    Function,
    Instance,
    Mapping,
    Text,
    Tuple,
    Value,
    constant,
    join,
    literal,
    text,
)

ARGUMENT = text(texts.ARGUMENT_PART)
TYPER_COMMANDS = ("typer.Typer.command", "typer.Typer.callback")
TYPER_OPTIONS = ("Option", "Argument")
ABSL_FLAGS = "absl.flags.FLAGS"
FLAG_KINDS = "string integer float bool boolean list enum multi_string spaceseplist path"


def add_click_option(machine: Machine, value: Value, arguments: Arguments, node: ast.Call) -> None:
    """Let a function receive an option of click: the arguments are those of the decorator."""
    names = [name for item in arguments.positional if (name := literal(item))]
    plain = [name for name in names if not name.startswith("-")] or ([max(names, key=len)] if names else [])
    if not plain:
        return
    name = plain[0].lstrip("-").replace("-", "_")
    default = arguments.keywords.get("default", ())
    if not default and "is_flag" in arguments.keywords:
        default = FALSE
    found = _choose(machine, name, default, arguments.keywords.get("envvar"), node)
    for atom in value:
        if isinstance(atom, Function):
            atom.extra_keywords[name] = found


def _choose(machine: Machine, name: str, default: Value, variable: Value | None, node: ast.AST) -> Value:
    """Return what an option has: what the container passes, its environment variable, or its default."""
    given = machine.recorder.record_option(name)
    if given is not None:
        return given
    if variable is None or variable == NONE:
        return default or ARGUMENT
    names = [item for atom in variable for item in ([(atom,)] if isinstance(atom, Text) else _items(machine, atom))]
    return join(*(read_variable(machine, item, node, default or None) for item in names)) or default or ARGUMENT


def _items(machine: Machine, atom: Atom) -> list[Value]:
    return machine.iterate((atom,), ast.Pass(lineno=machine.frame.line))[0]


def add_typer_options(machine: Machine, value: Value) -> None:
    """Let a command of typer receive its options: its parameters, with what their annotations say."""
    for atom in value:
        if not isinstance(atom, Function) or isinstance(atom.node, ast.Lambda):
            continue
        parameters = atom.node.args
        for parameter in (*parameters.posonlyargs, *parameters.args, *parameters.kwonlyargs):
            variable = _find_variable(machine, parameter.annotation)
            default = atom.defaults.get(parameter.arg, ())
            atom.extra_keywords[parameter.arg] = _choose(machine, parameter.arg, default, variable, parameter)


def _find_variable(machine: Machine, annotation: ast.expr | None) -> Value | None:
    """Return the environment variable that `Annotated[..., typer.Option(envvar=...)]` names."""
    for node in ast.walk(annotation) if annotation is not None else ():
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) in TYPER_OPTIONS:
            return next((machine.evaluate(one.value) for one in node.keywords if one.arg == "envvar"), None)
    return None


def _option(machine: Machine, call: Call) -> Value:
    """Model `typer.Option`: as the default of a parameter, it stands for its own default."""
    default = call.get(0, "default")
    found = ARGUMENT if default in (None, constant(...)) else default or UNKNOWN
    variable = call.get(-1, "envvar")
    if variable is None:
        return found
    return join(*(read_variable(machine, (atom,), call.node, found) for atom in variable if isinstance(atom, Text)))


def _run_main(machine: Machine, call: Call) -> Value:
    """Model `typer.run`: a function is called with its defaults or with unknown arguments."""
    main = call.get(0, "main") or UNKNOWN
    if call.name == "typer.run":
        add_typer_options(machine, main)
    return machine.call(main, Arguments(rest=ARGUMENT), call.node) or NONE


def _run_fire(machine: Machine, call: Call) -> Value:
    """Model `fire.Fire`: the command line chooses a function, a method of a class, or an entry of a dict."""
    component = call.get(0, "component")
    if component is None:
        names = machine.frame.module_frame().names
        component = tuple(atom for value in list(names.values()) for atom in value if isinstance(atom, Function))
    for atom in component:
        _run_component(machine, atom, call.node)
    return NONE


def _run_component(machine: Machine, atom: Atom, node: ast.AST) -> None:
    if isinstance(atom, Mapping):
        for value in list(atom.entries.values()):
            for entry in value:
                _run_component(machine, entry, node)
        return
    results = (atom,) if isinstance(atom, Instance) else machine.call((atom,), Arguments(rest=ARGUMENT), node)
    for result in results if isinstance(atom, Class | Instance) else ():
        if not isinstance(result, Instance) or result.owner is None:
            continue
        names = dict.fromkeys(name for base in result.owner.lineage() for name in base.attributes)
        for name in (name for name in names if not name.startswith("_")):
            found = result.owner.find(name) or ()
            if all(isinstance(one, Function) and "property" not in one.roles for one in found):
                machine.call(machine.get_attribute((result,), name, node), Arguments(rest=ARGUMENT), node)


def _get_options(machine: Machine, call: Call) -> Value:
    """Model `getopt.getopt`: pairs of an option and its value, and the other arguments."""
    pairs = machine.heap.sequence([(Tuple((ARGUMENT, ARGUMENT)),)], is_exact=False)
    return (Tuple(((pairs,), (machine.heap.sequence([ARGUMENT], is_exact=False),))),)


def _define_flag(machine: Machine, call: Call) -> Value:
    """Model `absl.flags.DEFINE_string` and the like."""
    name, default = get_constant_text(call.get(0, "name")), call.get(1, "default")
    value = ARGUMENT if default in (None, NONE) else default
    holder = machine.heap.instance(None, "namespace")
    if name is not None:
        given = machine.recorder.record_option(name)
        machine.flags[name] = value = value if given is None else given
        holder.attributes["name"] = constant(name)
    holder.attributes |= {"value": value, "default": value}
    return (holder,)


COMMAND_LINE_FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    "typer.Option": _option,
    "typer.Argument": _option,
    "fastapi.Query": _option,
    "absl.app.run": _run_main,
    "typer.run": _run_main,
    "fire.Fire": _run_fire,
    "getopt.getopt": _get_options,
    "getopt.gnu_getopt": _get_options,
    **{f"absl.flags.DEFINE_{kind}": _define_flag for kind in FLAG_KINDS.split()},
}
