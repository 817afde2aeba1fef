"""The alternatives of abstract values, and the modules, frames and branches of the program that they refer to."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MAX_TUPLE_WEIGHT = 5000  # items of a tuple and of the tuples inside of it


class Atom:
    """One alternative of a value."""

    __slots__ = ()


Value = tuple[Atom, ...]


@dataclass(frozen=True, slots=True)
class Unknown(Atom):
    """Anything."""


@dataclass(frozen=True, slots=True)
class Text(Atom):
    """A string or path; `value` may have unknown parts (see `text`). `owner` is the enumeration that it belongs to."""

    value: str
    is_path: bool = False
    owner: Class | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Const(Atom):
    """A constant that is not a string."""

    value: Any
    type_name: str


@dataclass(frozen=True, slots=True)
class Tuple(Atom):
    """A tuple with known length. The items of a very large one are unknown, so that comparing it stays cheap."""

    items: tuple[Value, ...]
    weight: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        weight = 1 + sum(atom.weight if isinstance(atom, Tuple) else 1 for item in self.items for atom in item)
        if weight > MAX_TUPLE_WEIGHT:
            object.__setattr__(self, "items", ((Unknown(),),) * min(len(self.items), MAX_TUPLE_WEIGHT))
            weight = MAX_TUPLE_WEIGHT
        object.__setattr__(self, "weight", weight)


@dataclass(frozen=True, slots=True)
class External(Atom):
    """Something in a module that is not followed, by its full name: a module, a function or a class."""

    name: str


@dataclass(frozen=True, slots=True)
class Result(Atom):
    """What a call of something external returned; `name` is what was called."""

    name: str


@dataclass(frozen=True, slots=True)
class File(Atom):
    """An open file; `opener` is the function that opened it."""

    path: Value
    opener: str = "builtins.open"


@dataclass(frozen=True, slots=True)
class Method(Atom):
    """A method of something that is not an instance of a class of the project."""

    receiver: Atom
    name: str


@dataclass(frozen=True, slots=True)
class Bound(Atom):
    """A function of a class with its first argument."""

    receiver: Atom
    function: Function


@dataclass(eq=False, frozen=True, slots=True)
class Partial(Atom):
    """A function with some of its arguments."""

    function: Value
    positional: tuple[Value, ...]
    keywords: tuple[tuple[str, Value], ...]


@dataclass(frozen=True, slots=True)
class Super(Atom):
    """`super()` inside a method of a class."""

    owner: Class
    receiver: Atom


@dataclass(eq=False, slots=True)
class Function(Atom):
    """A function of the project and the frame that it was defined in."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    frame: Frame
    defaults: dict[str, Value]
    owner: Class | None = None
    roles: frozenset[str] = (
        frozenset()
    )  # of its decorators: property, classmethod, staticmethod, contextmanager, cached
    extra_keywords: dict[str, Value] = field(default_factory=dict)  # arguments that a decorator supplies

    @property
    def name(self) -> str:
        """The name of the function."""
        return getattr(self.node, "name", "lambda")


@dataclass(eq=False, slots=True)
class Class(Atom):
    """A class of the project."""

    name: str
    module: ModuleSource
    bases: tuple[Class, ...]
    external_bases: tuple[str, ...]
    attributes: dict[str, Value] = field(default_factory=dict)
    fields: dict[str, Value] = field(default_factory=dict)  # annotated names with their defaults; () without one
    roles: frozenset[str] = frozenset()  # dataclass, pydantic, enum, namedtuple
    serial: int = 0
    token: Token | None = None

    def lineage(self) -> list[Class]:
        """Return the class and its bases, in the order in which attributes are looked up."""
        found: dict[Class, None] = {self: None}
        for base in self.bases:
            found.update(dict.fromkeys(base.lineage()))
        return list(found)

    def all_roles(self) -> frozenset[str]:
        """Return the roles of the class and of its bases."""
        return frozenset().union(*(base.roles for base in self.lineage()))

    def all_external_bases(self) -> list[str]:
        """Return the names of the external classes that this class derives from."""
        return [name for base in self.lineage() for name in base.external_bases]

    def find(self, name: str) -> Value | None:
        """Return the attribute of the class or of its nearest base that has it."""
        for base in self.lineage():
            if name in base.attributes:
                return base.attributes[name]
        return None

    def all_fields(self) -> dict[str, Value]:
        """Return the fields of the class and of its bases, in the order of the constructor's parameters."""
        return {name: value for base in reversed(self.lineage()) for name, value in base.fields.items()}


@dataclass(eq=False, slots=True)
class Instance(Atom):
    """An object of a class of the project, or with `kind` an object of a library that is modeled."""

    owner: Class | None
    attributes: dict[str, Value]
    serial: int
    token: Token
    kind: str = ""


@dataclass(eq=False, slots=True)
class Sequence(Atom):
    """A list, set or iterator. Unless it is exact, it has any number of the items, in any order."""

    items: list[Value]
    serial: int
    token: Token
    is_exact: bool = True
    kind: str = "list"


@dataclass(eq=False, slots=True)
class Mapping(Atom):
    """A dict. `entries` holds the keys that are known, `optional` those that may be absent, `rest` the other values."""

    entries: dict[Atom, Value]
    serial: int
    token: Token
    optional: set[Atom] = field(default_factory=set)
    rest: Value = ()
    owner: Instance | None = None  # of which it is the `__dict__`


@dataclass(eq=False, slots=True)
class ModuleValue(Atom):
    """A module of the project."""

    module: ModuleSource


@dataclass(eq=False, slots=True)
class Token:
    """A branch of the program that may or may not run, inside of `parent`."""

    parent: Token | None = None

    def is_inside(self, other: Token) -> bool:
        """Return whether this branch is the other one or a part of it."""
        token: Token | None = self
        while token is not None:
            if token is other:
                return True
            token = token.parent
        return False


@dataclass(eq=False, slots=True)
class ModuleSource:
    """A module of the project: its full name, file and syntax tree. `frame` holds its names once it has run."""

    name: str
    path: Path
    tree: ast.Module
    lines: list[str]
    is_package: bool = False
    frame: Frame | None = None

    @property
    def package(self) -> str:
        """The name of the package that relative imports start from."""
        return self.name if self.is_package else self.name.rpartition(".")[0]


@dataclass(eq=False, slots=True)
class Frame:
    """The names of a running module, class body or function, and what it has returned so far."""

    module: ModuleSource
    parent: Frame | None = None  # where free names are looked up
    function: Function | None = None
    class_body: Class | None = None
    names: dict[str, Value] = field(default_factory=dict)
    global_names: set[str] = field(default_factory=set)
    nonlocal_names: set[str] = field(default_factory=set)
    returned: list[Value] = field(default_factory=list)
    yielded: Sequence | None = None
    breaks: list[dict[str, Value]] = field(default_factory=list)  # the names at each `break` of the inner loop
    continues: list[dict[str, Value]] = field(default_factory=list)
    line: int = 0
    serial: int = 0
    token: Token | None = None
    is_comprehension: bool = False

    def module_frame(self) -> Frame:
        """Return the frame of the module."""
        return self.module.frame or self

    def find(self, name: str) -> Frame | None:
        """Return the nearest frame that has the name; a class body is skipped from the functions inside of it."""
        frame: Frame | None = self
        while frame is not None:
            if name in frame.names and (frame is self or frame.class_body is None):
                return frame
            frame = frame.parent
        return None

    def find_target(self, name: str) -> Frame:
        """Return the frame that an assignment to the name changes."""
        if name in self.global_names:
            return self.module_frame()
        if name in self.nonlocal_names and self.parent is not None:
            return self.parent.find(name) or self
        return self
