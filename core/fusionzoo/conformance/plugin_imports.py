"""Compare the packages that a plugin imports with those that its distribution, or fusionzoo itself, requires."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from importlib_metadata import Distribution, packages_distributions
from packaging.requirements import Requirement

from fusionzoo.contracts.static.requirement_check import STANDARD_LIBRARY
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION
from fusionzoo.registry.providers import Provider, find_distribution, normalize_name

IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
TEST_FOLDERS = frozenset({"test", "tests"})
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(frozen=True)
class UndeclaredImport:
    """The first place that imports a top-level module, and the distribution that provides it, as far as it is known."""

    module: str
    distribution: str
    file: Path
    line: int


@dataclass(frozen=True)
class _Import:
    module: str
    line: int
    is_in_function: bool


def find_undeclared_imports(provider: Provider) -> list[UndeclaredImport]:
    """Return the imported top-level modules that no requirement of the plugin's distribution provides.

    What fusionzoo requires itself, with the extras with which the plugin requires it, counts as required. So does a
    requirement of an extra of the plugin, for an import in a function.
    """
    extras = provider.metadata.metadata.get_all("Provides-Extra") or ()
    required, optional = (_list_requirements(provider.metadata, chosen) for chosen in ((), extras))
    undeclared: dict[str, UndeclaredImport] = {}
    files, seen = _list_own_files(provider), set[Path]()
    own = _list_top_levels(provider.metadata)
    while files:
        file = files.pop(0)
        if file in seen:
            continue
        seen.add(file)
        for one in _list_imports(ast.parse(file.read_bytes(), str(file))):
            if one.module in STANDARD_LIBRARY | own | {CORE_DISTRIBUTION} or one.module in undeclared:
                continue
            if helper := _find_helper(one.module, file):
                files.append(helper)
            elif not _is_provided(one.module, optional if one.is_in_function else required):
                undeclared[one.module] = UndeclaredImport(one.module, _name_owner(one.module), file, one.line)
    return list(undeclared.values())


def _list_requirements(dist: Distribution, extras: Collection[str]) -> set[str]:
    """Return the normalized names of what a distribution requires; of fusionzoo, also what that requires in turn."""
    requirements = _read_requirements(dist, extras)
    names = {normalize_name(requirement.name) for requirement in requirements}
    core_extras = [requirement.extras for requirement in requirements if _is_core(requirement)]
    return names | (_list_core_requirements(set[str]().union(*core_extras)) if core_extras else set())


def _list_core_requirements(extras: set[str]) -> set[str]:
    """Return the normalized names of what fusionzoo requires with extras, some of which contain others."""
    core = find_distribution(CORE_DISTRIBUTION, sys.path)
    if core is None:
        return set()
    requirements = _read_requirements(core, extras)
    contained = set[str]().union(*(requirement.extras for requirement in requirements if _is_core(requirement)))
    if not contained <= extras:
        return _list_core_requirements(extras | contained)
    return {normalize_name(requirement.name) for requirement in requirements}


def _read_requirements(dist: Distribution, extras: Collection[str]) -> list[Requirement]:
    """Return the requirements that apply to this Python and platform, without extras and with each of these."""
    requirements = [Requirement(line) for line in dist.requires or ()]
    return [
        requirement
        for requirement in requirements
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras))
    ]


def _is_core(requirement: Requirement) -> bool:
    return normalize_name(requirement.name) == CORE_DISTRIBUTION


def _list_own_files(provider: Provider) -> list[Path]:
    """Return the source files of the plugin: those of its entry point's module, and those that it lists."""
    spec = importlib.util.find_spec(provider.entry_point.module.partition(".")[0])
    folders = [] if spec is None else spec.submodule_search_locations or []
    files = [file for folder in folders for file in sorted(Path(folder).rglob("*.py"))]
    if spec is not None and spec.origin is not None and not folders:
        files.append(Path(spec.origin))
    files += [Path(str(file.locate())) for file in provider.metadata.files or () if file.suffix == ".py"]
    return [file for file in files if file.is_file() and not TEST_FOLDERS & set(file.parts[-3:-1])]


def _list_imports(tree: ast.AST, is_in_function: bool = False) -> Iterator[_Import]:
    """Yield the top-level modules that are imported at run time, without those that may be missing."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (_Import(alias.name.partition(".")[0], node.lineno, is_in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield _Import(str(node.module).partition(".")[0], node.lineno, is_in_function)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            yield from _list_imports(ast.Module(node.orelse, []), is_in_function)
        elif isinstance(node, ast.Try) and _accepts_missing(node):
            rest = [*node.handlers, *node.orelse, *node.finalbody]
            yield from _list_imports(ast.Module(rest, []), is_in_function)  # type: ignore[arg-type]
        else:
            yield from _list_imports(node, is_in_function or isinstance(node, FUNCTIONS))


def _accepts_missing(node: ast.Try) -> bool:
    """Return whether the code continues without a module that cannot be imported."""
    for handler in node.handlers:
        caught = {"Exception"} if handler.type is None else {n.id for n in ast.walk(handler.type) if hasattr(n, "id")}
        if caught & IMPORT_ERRORS:
            return True
    return False


def _find_helper(module: str, importer: Path) -> Path | None:
    """Return the file of a module that is next to its importer and belongs to no distribution; None for others."""
    for file in (importer.parent / f"{module}.py", importer.parent / module / "__init__.py"):
        if file.is_file():
            return None if packages_distributions().get(module) else file
    return None


def _is_provided(module: str, distributions: Collection[str]) -> bool:
    """Return whether one of these distributions provides a top-level module."""
    if normalize_name(module) in distributions:
        return True
    found = (find_distribution(name, sys.path) for name in sorted(distributions))
    return any(module in _list_top_levels(dist) for dist in found if dist is not None)


def _list_top_levels(dist: Distribution) -> set[str]:
    """Return the top-level modules of a distribution, as far as its list of files or its entry points name them."""
    parts = [file.parts for file in dist.files or () if file.suffix in (".py", ".so", ".pyd")]
    names = {path[0].partition(".")[0] for path in parts}
    return names | {entry_point.module.partition(".")[0] for entry_point in dist.entry_points}


def _name_owner(module: str) -> str:
    """Return the distribution that provides a module here; the name of the module if there is none."""
    return next(iter(packages_distributions().get(module, ())), module)
