"""Record what a program does with paths and which environment variables it reads."""

from __future__ import annotations

import ast
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.contracts.static import io_tables
from fusionzoo.contracts.static import text as texts
from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.file_operations import FILE_FUNCTIONS, TOUCH, open_directions
from fusionzoo.contracts.static.heap import items_of
from fusionzoo.contracts.static.io_tables import PathArgument
from fusionzoo.contracts.static.machine import Call, Machine
from fusionzoo.contracts.static.operators import get_constant_text
from fusionzoo.contracts.static.path_operations import PATH_FUNCTIONS, absolute, join_paths
from fusionzoo.contracts.static.sagemaker_variables import describe_environment, known_value
from fusionzoo.contracts.static.values import (
    NONE_ATOM,
    Atom,
    Const,
    File,
    Mapping,
    Text,
    Value,
    text,
)

MAX_USES = 10_000
MAX_EXPRESSION = 120  # characters
MAX_NESTING = 3
OPEN_NAMES = ("open", "open_file", "GFile")
"""The last part of the names of functions of libraries that take a mode like that of `open`."""
COMMAND_PATH = re.compile(re.escape(SAGEMAKER_ROOT) + r"(?:/[\w.=@%+-]+)*")
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names)


@dataclass(frozen=True)
class Use:
    """A place that does something with a path.

    Attributes:
        paths: the alternatives, in which private characters stand for unknown parts.
        is_open: whether it may be another path, too.
        is_certain: whether the program certainly comes to this place and does it.
    """

    paths: tuple[str, ...]
    is_open: bool
    direction: str
    file: Path
    line: int
    expression: str
    is_certain: bool


@dataclass(frozen=True)
class VariableRead:
    """A place that reads an environment variable."""

    name: str
    file: Path
    line: int


@dataclass
class UseRecorder:
    """Collects the uses of paths and environment variables; it is the `Recorder` of a machine.

    Attributes:
        sets_sagemaker_variables: whether the container of the script sets SageMaker's own variables.
        channels: the names of the channels of the job.
        arguments: the values that the container passes for command-line options.
        defaults: the defaults that the contract declares for environment variables.
    """

    sets_sagemaker_variables: bool = True
    channels: tuple[str, ...] = ()
    arguments: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, str] = field(default_factory=dict)
    uses: dict[Use, None] = field(default_factory=dict)
    variables: dict[VariableRead, None] = field(default_factory=dict)
    options: set[str] = field(default_factory=set)
    unknown: dict[Use, None] = field(default_factory=dict)  # uses of a path of which nothing is known
    count: int = 0

    def record_use(self, machine: Machine, path: Value, direction: str, node: ast.AST, is_certain: bool = True) -> None:
        """Record that the program reads, writes, lists, creates or deletes a path."""
        if len(path) == 1 and items_of(path[0]) is not None:
            for value in _list_items(path[0]):  # every path in a container is used
                self._record(machine, value, direction, node, is_certain)
        else:
            self._record(machine, path, direction, node, is_certain)

    def _record(self, machine: Machine, path: Value, direction: str, node: ast.AST, is_certain: bool) -> None:
        found = dict.fromkeys(one for atom in path for one in find_paths(atom))
        paths = [absolute(one, machine.folder) if machine.folder else one for one in found]
        is_open = any(not isinstance(atom, Text | Const | File) and items_of(atom) is None for atom in path)
        module, line = machine.frame.module, getattr(node, "lineno", machine.frame.line)
        if not paths:
            if any(_may_be_path(atom) for atom in path) and len(self.unknown) < MAX_USES:
                shown = show_line(module, line)
                self.unknown[Use((texts.UNKNOWN_PART,), True, direction, module.path, line, shown, False)] = None
            return
        if len(self.uses) >= MAX_USES:
            machine.budget.note(f"only the first {MAX_USES:,} uses of paths are examined")
            return
        self.count += 1
        certain = is_certain and machine.is_certain
        use = Use(tuple(paths), is_open, direction, module.path, line, show_line(module, line), certain)
        self.uses[use] = None

    def record_variable(self, machine: Machine, name: str, node: ast.AST) -> Value:
        """Record that the program reads an environment variable; return its value in a job."""
        line = getattr(node, "lineno", machine.frame.line)
        self.variables[VariableRead(name, machine.frame.module.path, line)] = None
        known = known_value(name, self.channels) if self.sets_sagemaker_variables else None
        if name == "HOME":
            known = texts.HOME_PART
        return text(texts.ENVIRONMENT_PART if known is None else known)

    def describe_environment(self) -> dict[str, object]:
        """Return what the container's toolkit says about the paths of the job; empty if it has no toolkit."""
        return describe_environment(self.channels) if self.sets_sagemaker_variables else {}

    def declared_default(self, name: str) -> Value | None:
        """Return the default that the contract declares for an environment variable."""
        value = self.defaults.get(name)
        return text(value) if value else None

    def record_option(self, name: str) -> Value | None:
        """Record a command-line option; return its value if the container passes one."""
        self.options.add(name.replace("-", "_"))
        value = self.arguments.get(name, self.arguments.get(name.replace("_", "-")))
        return None if value is None else text(value)

    def record_call(self, machine: Machine, call: Call) -> None:
        """Record what an external function or an unknown method does with the paths among its arguments."""
        if call.receiver is None:
            self._record_function(machine, call)
        else:
            self._record_method(machine, call)

    def _record_function(self, machine: Machine, call: Call) -> None:
        name = call.name
        if name in FILE_FUNCTIONS and name not in io_tables.FUNCTIONS:
            return  # its model records the use
        last = name.rpartition(".")[2]
        arguments = io_tables.FUNCTIONS.get(name) or io_tables.CLASSES.get(last)
        if arguments is not None:
            self._record_arguments(machine, call, arguments)
        elif name in io_tables.COMMANDS:
            self._record_command(machine, call)
        elif not call.is_modeled and not _is_harmless(name):
            self._record_guess(machine, call, name)

    def _record_method(self, machine: Machine, call: Call) -> None:
        table = io_tables.METHODS
        if isinstance(call.receiver, File):
            table = io_tables.ZIP_METHODS if "zip" in call.receiver.opener else io_tables.ARCHIVE_METHODS
        full_name = f"{getattr(call.receiver, 'name', '')}.{call.name}"
        if full_name in io_tables.FUNCTIONS:
            self._record_arguments(machine, call, io_tables.FUNCTIONS[full_name])
        elif call.name in table:
            self._record_arguments(machine, call, table[call.name])
        elif call.name in io_tables.CLASSES:
            self._record_arguments(machine, call, io_tables.CLASSES[call.name])
        elif call.name not in io_tables.HARMLESS_METHODS and not isinstance(call.receiver, File):
            origin = getattr(call.receiver, "name", "")
            if not origin or not _is_harmless(origin):
                self._record_guess(machine, call, call.name)

    def _record_arguments(self, machine: Machine, call: Call, arguments: tuple[PathArgument, ...]) -> None:
        for argument in arguments:
            value = next((v for name in argument.names if (v := call.arguments.keywords.get(name)) is not None), None)
            if value is None:
                value = call.get(argument.position)
            inner = get_constant_text(call.arguments.keywords.get(argument.inner[0]))
            if value is not None and inner:
                value = join_paths([value, text(f"{inner}{argument.inner[1]}")], is_path=False)
            if value is not None and value != (NONE_ATOM,):
                self.record_use(machine, value, argument.direction, call.node)

    def _record_guess(self, machine: Machine, call: Call, name: str) -> None:
        directions: tuple[str, ...] = (io_tables.guess_direction(name),)
        if name.rpartition(".")[2] in OPEN_NAMES:
            directions = open_directions(call.get(1, "mode"))
        for value in call.arguments.all_values():
            if any(SAGEMAKER_ROOT in path for atom in value for path in find_paths(atom)):
                for direction in directions:
                    self.record_use(machine, value, direction, call.node, is_certain=False)

    def _record_command(self, machine: Machine, call: Call) -> None:
        found = [path for value in call.arguments.all_values() for atom in value for path in find_paths(atom)]
        for path in dict.fromkeys(match for one in found for match in COMMAND_PATH.findall(one)):
            self.record_use(machine, text(path), TOUCH, call.node, is_certain=False)
        if any(SAGEMAKER_ROOT in path for path in found):
            machine.note("another program receives paths; what it does with them is not known", call.node)


def _may_be_path(atom: Atom) -> bool:
    """Return whether a value that is not known may be a path: an open file or a buffer in memory is not."""
    return not isinstance(atom, Const | File) and not getattr(atom, "name", "").startswith("io.")


def _list_items(atom: Atom, nesting: int = 0) -> list[Value]:
    """Return the values in a container and in the containers inside of it."""
    values = [*atom.entries.values(), atom.rest] if isinstance(atom, Mapping) else items_of(atom) or []
    found: list[Value] = []
    for value in values:
        is_nested = len(value) == 1 and items_of(value[0]) is not None and nesting < MAX_NESTING
        found += _list_items(value[0], nesting + 1) if is_nested else [value]
    return found


def find_paths(atom: object, nesting: int = 0) -> list[str]:
    """Return the texts in a value: itself, or the items of a container."""
    if isinstance(atom, Text):
        return [atom.value]
    if isinstance(atom, File):
        return []  # opening it has been recorded
    items = items_of(atom) if nesting < MAX_NESTING else None  # type: ignore[arg-type]
    if items is None:
        return []
    values = [*atom.entries.values(), atom.rest] if isinstance(atom, Mapping) else items
    return [path for value in values for inner in value for path in find_paths(inner, nesting + 1)]


def show_line(module: ModuleSource, line: int) -> str:
    """Return a line of the source code for a message."""
    shown = module.lines[line - 1].strip() if 0 < line <= len(module.lines) else ""
    return shown if len(shown) <= MAX_EXPRESSION else f"{shown[: MAX_EXPRESSION - 3]}..."


def _is_harmless(name: str) -> bool:
    """Return whether a function is known to do nothing with a path but show, store or transform it."""
    return name.partition(".")[0] in STANDARD_LIBRARY or name in io_tables.HARMLESS_FUNCTIONS or name in PATH_FUNCTIONS
