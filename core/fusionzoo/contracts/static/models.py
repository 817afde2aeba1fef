"""Calls of what is not code of the project: record what they use, and return what is known about their result."""

from __future__ import annotations

from collections.abc import Callable

from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.argument_parsers import (
    DATACLASS_PARSERS,
    PARSERS,
    make_dataclass_parser,
    make_parser,
    parser_method,
)
from fusionzoo.contracts.static.builtin_functions import BUILTIN_FUNCTIONS, MAP
from fusionzoo.contracts.static.class_functions import CLASS_FUNCTIONS
from fusionzoo.contracts.static.command_lines import COMMAND_LINE_FUNCTIONS
from fusionzoo.contracts.static.container_methods import mapping_method, sequence_method
from fusionzoo.contracts.static.contexts import enter
from fusionzoo.contracts.static.escapes import escape
from fusionzoo.contracts.static.file_operations import FILE_FUNCTIONS, path_file_method
from fusionzoo.contracts.static.instances import set_fields
from fusionzoo.contracts.static.library_functions import LIBRARY_FUNCTIONS, STARMAP, substitute
from fusionzoo.contracts.static.machine import Arguments, Call, Machine
from fusionzoo.contracts.static.other_scripts import SCRIPT_FUNCTIONS
from fusionzoo.contracts.static.path_operations import PATH_FUNCTIONS, path_method
from fusionzoo.contracts.static.reflection_functions import REFLECTION_FUNCTIONS
from fusionzoo.contracts.static.string_methods import string_method
from fusionzoo.contracts.static.toolkit_functions import TOOLKIT_FUNCTIONS
from fusionzoo.contracts.static.values import (
    NONE,
    UNKNOWN,
    Instance,
    Mapping,
    Result,
    Sequence,
    Text,
    Tuple,
    Value,
    join,
    text,
)

FUNCTIONS: dict[str, Callable[[Machine, Call], Value | None]] = {
    **{f"builtins.{name}": function for name, function in (BUILTIN_FUNCTIONS | REFLECTION_FUNCTIONS).items()},
    **LIBRARY_FUNCTIONS,
    **CLASS_FUNCTIONS,
    **COMMAND_LINE_FUNCTIONS,
    **SCRIPT_FUNCTIONS,
    **TOOLKIT_FUNCTIONS,
    **PATH_FUNCTIONS,
    **FILE_FUNCTIONS,
    **dict.fromkeys(PARSERS, make_parser),
    **dict.fromkeys(DATACLASS_PARSERS, make_dataclass_parser),
}
NEVER_RETURN = frozenset({"sys.exit", "os._exit", "builtins.exit", "builtins.quit", "os.abort"})
UNBOUND = ("builtins.str.", "pathlib.Path.", "pathlib.PurePath.", "pathlib.PosixPath.")
RENAMED = (("posixpath.", "os.path."), ("ntpath.", "os.path."), ("os.path.os.", "os."))
PATH_CONVERTERS = ("os.", "pathlib.", "builtins.open", "shutil.", "builtins.str", "io.open")
MAX_NAME = 120
EXECUTOR_METHODS = ("submit", "apply", "apply_async", "call_soon", "run_in_executor", "callback", "call_later")
MAP_METHODS = ("map", "imap", "imap_unordered", "map_async")
DEFAULT_METHODS = ("get", "pop", "setdefault", "getint", "getfloat", "getboolean")
"""Methods of mappings and of `configparser` that return a default if there is no value."""
KEEPS_CALLBACKS = ("logging.", "warnings.", "typing.", "abc.", "builtins.")


def call_external(machine: Machine, call: Call) -> Value:
    """Return the result of a function or class by its full name; () if it never returns."""
    for old, new in RENAMED:
        if call.name.startswith(old):
            call.name = new + call.name[len(old) :]
    model = FUNCTIONS.get(call.name)
    if model is None and call.name.startswith(UNBOUND) and call.arguments.positional:
        receiver, *rest = call.arguments.positional
        method = machine.get_attribute(receiver, call.name.rpartition(".")[2], call.node)
        return machine.call(method, Arguments(rest, call.arguments.keywords, call.arguments.rest), call.node)
    if call.name.startswith(PATH_CONVERTERS):
        _convert_paths(machine, call)
    call.is_modeled = model is not None
    machine.recorder.record_call(machine, call)
    if call.name in NEVER_RETURN:
        return ()
    result = None if model is None else model(machine, call)
    if result is not None:
        return result
    if not call.name.startswith(KEEPS_CALLBACKS):
        escape_arguments(machine, call)
    return (Result(call.name),)


def _convert_paths(machine: Machine, call: Call) -> None:
    """Replace objects with `__fspath__` by their path."""
    for position, value in enumerate(call.arguments.positional):
        if any(isinstance(atom, Instance) and atom.owner and atom.owner.find("__fspath__") for atom in value):
            method = machine.get_attribute(value, "__fspath__", call.node)
            call.arguments.positional[position] = machine.call(method, Arguments(), call.node) or UNKNOWN


def escape_arguments(machine: Machine, call: Call) -> None:
    """Let a library call the functions among the arguments."""
    for value in call.arguments.all_values():
        escape(machine, value, call.node)


def call_method(machine: Machine, call: Call) -> Value:
    """Return the result of a method of something that is not an object of the project."""
    receiver = call.receiver
    if isinstance(receiver, Text):
        return _call_text_method(machine, call, receiver)
    if isinstance(receiver, Sequence | Tuple):
        return sequence_method(machine, call, receiver)
    if isinstance(receiver, Mapping):
        return mapping_method(machine, call, receiver)
    if isinstance(receiver, Instance):
        result = _call_modeled_object(machine, call, receiver)
        if result is not None:
            return result
    return _call_unknown_method(machine, call)


def _call_text_method(machine: Machine, call: Call, receiver: Text) -> Value:
    is_replace = call.name == "replace" and not receiver.is_path
    result = None if is_replace else path_file_method(machine, call, receiver)
    if result is None and receiver.is_path:
        result = path_method(machine, call, receiver.value)
    if result is None:
        result = string_method(machine, call, receiver.value)
    if result is None:
        result = path_method(machine, call, receiver.value)
    return UNKNOWN if result is None else result


def _call_modeled_object(machine: Machine, call: Call, receiver: Instance) -> Value | None:
    if receiver.kind in ("parser", "dataclass parser"):
        return parser_method(machine, call, receiver)
    if receiver.kind == "template" and call.name in ("substitute", "safe_substitute"):
        return substitute(machine, call, receiver.attributes["template"])
    if receiver.kind == "entry" and call.name in ("is_file", "is_dir", "stat"):
        return UNKNOWN
    if receiver.owner is None:
        return None
    if call.name == "__init__":
        set_fields(machine, receiver, receiver.owner, call.arguments, call.node)
        return NONE
    if call.name in ("_replace", "model_copy", "copy"):
        copied = machine.heap.instance(receiver.owner, receiver.kind)
        copied.attributes = {**receiver.attributes, **call.arguments.keywords}
        update = call.arguments.keywords.get("update", ())
        for atom in update:
            if isinstance(atom, Mapping):
                copied.attributes |= {key.value: item for key, item in atom.entries.items() if isinstance(key, Text)}
        return (copied,)
    if call.name in ("model_dump", "dict", "_asdict"):
        return (machine.heap.mapping({Text(name): value for name, value in receiver.attributes.items()}),)
    return None


def _find_default(call: Call) -> Value:
    """Return the default that a method such as `get` is given; () without one."""
    found = call.get(-1, "fallback") or call.get(-1, "default")
    return found or (call.arguments.positional[1] if len(call.arguments.positional) == 2 else ())


def _call_unknown_method(machine: Machine, call: Call) -> Value:
    machine.recorder.record_call(machine, call)
    if call.name in EXECUTOR_METHODS and call.arguments.positional:
        skipped = 1 if call.name in ("run_in_executor", "call_later") else 0
        function, *rest = call.arguments.positional[skipped:] or [UNKNOWN]
        return machine.call(function, Arguments(rest, call.arguments.keywords), call.node) or UNKNOWN
    if call.name == "starmap" and len(call.arguments.positional) > 1:
        return STARMAP(machine, call)
    if call.name in MAP_METHODS and len(call.arguments.positional) > 1:
        return MAP(machine, call)
    if call.name == "enter_context":
        return enter(machine, call.first(), call.node)
    if call.name == "result" and not call.arguments.positional:
        return UNKNOWN
    escape_arguments(machine, call)
    if call.name in DEFAULT_METHODS and (default := _find_default(call)):
        return join(default, UNKNOWN)
    if call.name in ("open", "resolve", "joinpath"):
        return text(texts.UNKNOWN_PART, True)
    receiver = call.receiver
    if isinstance(receiver, Result):
        name = f"{receiver.name}.{call.name}"
        return (Result(name),) if len(name) < MAX_NAME else UNKNOWN
    return UNKNOWN
