"""Find the modules of a project: next to the script, below the root of its project, and in packages that are named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from pathlib import Path

from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.source_files import Unreadable, parse_file

PROJECT_MARKERS = ("pyproject.toml", "setup.py", "setup.cfg", ".git")
MAX_PARENTS = 4  # folders above the script in which the root of its project is looked for
MAX_MODULES = 2000


class ModuleFinder:
    """Finds and parses modules by their full names. A module is parsed once.

    Args:
        script: the script that is analyzed.
        packages: names of installed packages that belong to the project.
    """

    def __init__(self, script: Path, packages: Sequence[str] = ()) -> None:
        self._packages = frozenset(packages)
        self._roots = _list_roots(script)
        self._found: dict[str, ModuleSource | None] = {}
        self._installed: dict[str, list[Path]] = {}
        self.unreadable: list[Unreadable] = []

    def add_root(self, folder: Path) -> None:
        """Look for modules in this folder, too."""
        if folder not in self._roots:
            self._roots.append(folder)
            self._found = {name: module for name, module in self._found.items() if module is not None}

    def find(self, name: str) -> ModuleSource | None:
        """Return the module of the project with this name; None if it is not a module of the project."""
        if name not in self._found:
            self._found[name] = self._load(name) if len(self._found) < MAX_MODULES else None
        return self._found[name]

    def find_file(self, path: Path, name: str) -> ModuleSource | None:
        """Return the module in a file of the project; None if the file is not below one of its folders."""
        key = f"{name} {path}"
        if key not in self._found:
            is_own = any(path.absolute().is_relative_to(root.absolute()) for root in self._roots)
            module = parse_file(path, name) if is_own and _is_file(path) else None
            if isinstance(module, Unreadable):
                self.unreadable.append(module)
                module = None
            self._found[key] = module
        return self._found[key]

    def find_script(self, name: str) -> ModuleSource | None:
        """Return the module that `python -m name` runs, as a script; None if it is not one of the project."""
        module = self.find(f"{name}.__main__") or self.find(name)
        return None if module is None else self.find_file(module.path, "__main__")

    def modules(self) -> list[ModuleSource]:
        """Return the modules that were found."""
        return [module for module in self._found.values() if module is not None]

    def _load(self, name: str) -> ModuleSource | None:
        parts = name.split(".")
        if not all(part.isidentifier() for part in parts):
            return None
        for root in [*self._roots, *self._installed_roots(parts[0])]:
            base = root.joinpath(*parts)
            for file, is_package in ((base / "__init__.py", True), (base.with_name(f"{base.name}.py"), False)):
                if _is_file(file):
                    module = parse_file(file, name, is_package)
                    if isinstance(module, ModuleSource):
                        return module
                    self.unreadable.append(module)
                    return None
        return None

    def _installed_roots(self, package: str) -> list[Path]:
        """Return the folders that hold an installed package that belongs to the project."""
        if package not in self._packages:
            return []
        if package not in self._installed:
            spec = PathFinder.find_spec(package, sys.path)  # reads folders, imports nothing
            places = [*(spec.submodule_search_locations or ())] if spec is not None else []
            self._installed[package] = [Path(place).parent for place in places]
        return self._installed[package]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a loop of symbolic links, or a name that is too long
        return False


def _list_roots(script: Path) -> list[Path]:
    """Return the folder of the script, and the root of its project with its `src` folder."""
    folder = script.parent
    roots = [folder]
    for parent in [folder, *folder.absolute().parents][:MAX_PARENTS]:
        if any((parent / marker).exists() for marker in PROJECT_MARKERS):
            roots += [root for root in (parent, parent / "src") if root not in roots]
            break
    return roots
