"""The abstract machine: its state, and the tables through which the parts of the analysis call each other."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from fusionzoo.contracts.static.atoms import Frame, ModuleSource
from fusionzoo.contracts.static.budget import Budget
from fusionzoo.contracts.static.heap import Heap
from fusionzoo.contracts.static.project_modules import ModuleFinder
from fusionzoo.contracts.static.source_files import show_place
from fusionzoo.contracts.static.values import UNKNOWN, Atom, Instance, Method, Value, join


@dataclass(slots=True)
class Arguments:
    """The arguments of a call. `rest` is what a `*` or `**` argument that is not known may add; () without one."""

    positional: list[Value] = field(default_factory=list)
    keywords: dict[str, Value] = field(default_factory=dict)
    rest: Value = ()

    def get(self, position: int, name: str = "") -> Value | None:
        """Return the argument at a position or with a name; None if it is not given."""
        if name in self.keywords:
            return self.keywords[name]
        if 0 <= position < len(self.positional):
            return self.positional[position]
        return None

    def all_values(self) -> list[Value]:
        """Return every argument."""
        rest = [self.rest] if self.rest else []
        return [*self.positional, *self.keywords.values(), *rest]


@dataclass(slots=True)
class Call:
    """A call of something that is not code of the project, by its full name or as a method of a receiver."""

    name: str
    arguments: Arguments
    node: ast.AST
    receiver: Atom | None = None
    is_modeled: bool = False  # whether it is known what the function does

    def get(self, position: int, name: str = "") -> Value | None:
        """Return the argument at a position or with a name; None if it is not given."""
        return self.arguments.get(position, name)

    def first(self) -> Value:
        """Return the first argument; unknown if there is none."""
        return self.arguments.positional[0] if self.arguments.positional else UNKNOWN


class Recorder(Protocol):
    """Receives what the analysis finds."""

    count: int

    def record_call(self, machine: Machine, call: Call) -> None:
        """Record a call of something external: it may read or write its arguments."""

    def record_use(self, machine: Machine, path: Value, direction: str, node: ast.AST, is_certain: bool = True) -> None:
        """Record that the program reads, writes, lists, creates or deletes a path."""

    def record_variable(self, machine: Machine, name: str, node: ast.AST) -> Value:
        """Record that the program reads an environment variable; return its value in a job."""

    def describe_environment(self) -> dict[str, object]:
        """Return what the container's toolkit says about the paths of the job; empty if it has no toolkit."""

    def declared_default(self, name: str) -> Value | None:
        """Return the default that the contract declares for an environment variable."""

    def record_option(self, name: str) -> Value | None:
        """Record a command-line option; return its value if the container passes one."""


@dataclass(slots=True)
class Similar:
    """Calls with one signature: how many have run, whether none has changed an older object, and their results."""

    count: int = 0
    is_pure: bool = True
    result: Value = ()
    created: Instance | None = None


@dataclass
class Tables:
    """What handles each kind of expression, statement, attribute access and call."""

    expressions: dict[type[ast.AST], Callable[[Machine, ast.AST], Value]]
    statements: dict[type[ast.AST], Callable[[Machine, ast.AST], bool]]
    attributes: Callable[[Machine, Atom, str, ast.AST], Value]
    callers: Callable[[Machine, Atom, Arguments, ast.AST], Value]
    iterate: Callable[[Machine, Value, ast.AST], tuple[list[Value], bool]]
    run_module: Callable[[Machine, ModuleSource, str | None], Frame]


@dataclass
class Machine:
    """The state of an analysis."""

    tables: Tables
    finder: ModuleFinder
    recorder: Recorder
    budget: Budget = field(default_factory=Budget)
    heap: Heap = field(default_factory=Heap)
    frames: list[Frame] = field(default_factory=list)
    memory: dict[object, tuple[int, Value]] = field(default_factory=dict)
    similar: dict[object, Similar] = field(default_factory=dict)
    contexts: dict[int, int] = field(default_factory=dict)
    generators: dict[ast.AST, bool] = field(default_factory=dict)
    relevant: set[ast.AST] = field(default_factory=set)  # functions that use or return paths
    escaped: set[object] = field(default_factory=set)
    pending: list[tuple[Atom, Frame]] = field(default_factory=list)  # what a library may call later
    receivers: Value = ()  # the alternatives of the object that the method which is called belongs to
    is_certain: bool = True  # whether a library certainly calls the method that runs
    folder: str = ""  # the working directory that the program has chosen
    unrolled: int = 1  # how often the loops around the statement that runs are unrolled
    flags: dict[str, Value] = field(default_factory=dict)  # of absl
    imported: dict[str, tuple[ModuleSource, int]] = field(default_factory=dict)  # external modules, where imported

    def __post_init__(self) -> None:
        self.environment = self.heap.mapping()  # the variables that the program sets

    @property
    def frame(self) -> Frame:
        """The frame that runs."""
        return self.frames[-1]

    @contextmanager
    def running(self, frame: Frame) -> Iterator[Frame]:
        """In the block, this frame runs."""
        self.frames.append(frame)
        try:
            yield frame
        finally:
            self.frames.pop()

    @contextmanager
    def unrolling(self, count: int) -> Iterator[None]:
        """In the block, a loop is unrolled a number of times."""
        before = self.unrolled
        self.unrolled *= max(1, count)
        try:
            yield
        finally:
            self.unrolled = before

    def evaluate(self, node: ast.AST | None) -> Value:
        """Return the value of an expression."""
        self.budget.spend()
        handler = None if node is None else self.tables.expressions.get(type(node))
        return UNKNOWN if handler is None or node is None else handler(self, node) or UNKNOWN

    def evaluate_result(self, node: ast.AST) -> Value:
        """Return the value of an expression statement; () if it never returns, such as `sys.exit()`."""
        self.budget.spend()
        handler = self.tables.expressions.get(type(node))
        return UNKNOWN if handler is None else handler(self, node)

    def execute(self, body: list[ast.stmt]) -> bool:
        """Run statements; return whether the program continues after them."""
        for statement in body:
            self.budget.spend()
            self.frame.line = statement.lineno
            handler = self.tables.statements.get(type(statement))
            try:
                if handler is not None and not handler(self, statement):
                    return False
            except RecursionError:
                self.note("an expression or a chain of calls is nested too deeply", statement)
        return True

    def get_attribute(self, value: Value, name: str, node: ast.AST) -> Value:
        """Return an attribute of a value."""
        return join(*(self.tables.attributes(self, atom, name, node) for atom in value)) or UNKNOWN

    def call(self, function: Value, arguments: Arguments, node: ast.AST) -> Value:
        """Return the result of a call; () if it never returns."""
        if len(function) == 1:
            self.receivers = ()
            return self.tables.callers(self, function[0], arguments, node)
        receivers = tuple(atom.receiver for atom in function if isinstance(atom, Method))
        results = []
        for atom in function:
            self.receivers = receivers
            results.append(self.tables.callers(self, atom, arguments, node))
        return join(*results)

    def iterate(self, value: Value, node: ast.AST) -> tuple[list[Value], bool]:
        """Return the items that a loop over a value sees, and whether these are all of them, in this order."""
        return self.tables.iterate(self, value, node)

    def is_generator(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Return whether a function has a `yield` of its own."""
        if node not in self.generators:
            self.generators[node] = has_yield(node)
        return self.generators[node]

    def note(self, message: str, node: ast.AST) -> None:
        """Record something that the analysis could not follow, with its place."""
        line = getattr(node, "lineno", self.frame.line if self.frames else 0)
        place = show_place(self.frame.module.path, line) if self.frames else "?"
        self.budget.note(f"{place}: {message}")


def has_yield(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Return whether a function has a `yield` of its own."""
    stack: list[ast.AST] = list(node.body)
    while stack:
        inner = stack.pop()
        if isinstance(inner, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            stack.extend(ast.iter_child_nodes(inner))
    return False
