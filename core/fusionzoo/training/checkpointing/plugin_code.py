"""Hashes of the code that computes a model: the files of its modules, and all that its plugins have loaded."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from fusionzoo.data.hashing import hash_file
from fusionzoo.registry.plugin import Plugin
from fusionzoo.registry.providers import find_distribution

VERSIONED_PACKAGES = ("torch.", "transformers.", "builtins")  # their versions identify their code
SITE_FOLDERS = {Path(sysconfig.get_path(name)).resolve() for name in ("purelib", "platlib")}
CORE_PACKAGE = "fusionzoo."


def fingerprint_code(model: nn.Module, plugins: Iterable[Plugin]) -> dict[str, str]:
    """Return a hash of each source file that defines a module of the model, or that its plugins have loaded.

    A plugin's version is not enough: authors edit their code without changing it.
    """
    names = {type(part).__module__ for part in model.modules()}
    names |= {name for plugin in plugins for name in _list_modules(plugin)}
    hashes = {name: _hash_code(sys.modules.get(name)) for name in names if not name.startswith(VERSIONED_PACKAGES)}
    return {f"code of {name}": value[:8] for name, value in sorted(hashes.items()) if value}


def _list_modules(plugin: Plugin) -> Iterator[str]:
    """Yield the names of the loaded modules that come from the files of a plugin's distribution.

    If the list of its files is without the plugin, as in a development installation, its source folder counts.
    """
    dist = find_distribution(plugin.distribution, sys.path)
    listed = () if dist is None else dist.files or ()
    files = {str(file.locate()) for file in listed if file.suffix == ".py"}
    top = plugin.claim.value.partition(":")[0].strip().partition(".")[0]  # of the entry point's module
    folder = _find_source_folder(sys.modules.get(top), files)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not isinstance(file, str) or name.startswith(CORE_PACKAGE):
            continue
        is_in_package = name == top or name.startswith(f"{top}.")
        if is_in_package or file in files or (folder is not None and file.startswith(folder)):
            yield name


def _find_source_folder(module: ModuleType | None, listed: Collection[str]) -> str | None:
    """Return the folder from which a top-level module is imported; None if other distributions may share it."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str) or file in listed:
        return None
    folder = Path(file).parent.parent if Path(file).name == "__init__.py" else Path(file).parent
    return None if folder.resolve() in SITE_FOLDERS else f"{folder}/"


def _hash_code(module: ModuleType | None) -> str:
    """Return the SHA-256 of a module's file, which may be in a zip archive; empty if it has none."""
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        return ""
    if Path(file).is_file():
        return hash_file(Path(file))
    loader: Any = getattr(getattr(module, "__spec__", None), "loader", None)
    return hashlib.sha256(loader.get_data(file)).hexdigest()
