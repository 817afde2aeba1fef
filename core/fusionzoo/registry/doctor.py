"""Whether all that is installed is sound: names, metadata, requirements, and each plugin's import."""

from __future__ import annotations

import os
import platform
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fusionzoo import __version__, errors
from fusionzoo.registry.discovery import (
    CORE_DISTRIBUTION,
    MODELS_GROUP,
    TEXT_ENCODERS_GROUP,
    Provider,
    Registry,
    normalize_name,
)
from fusionzoo.registry.isolated_import import import_in_isolation

AT_ONCE = 4  # processes at most; each imports torch


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with what a plugin claims to provide, and what to do about it.

    `kind` is what is claimed; "distribution" where nobody knows. In a clash, `distribution` names all of them.
    """

    kind: str
    name: str
    distribution: str
    version: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Report:
    """What was looked at, and what is wrong with it."""

    subject: str
    findings: tuple[Finding, ...]


def versions(path: Sequence[str] | None = None) -> dict[str, str]:
    """What the findings hold for: Python, core, torch ("" where it is not there) and each plugin, by distribution."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    plugins = {one.distribution: one.version for mine in _by_distribution(_registries(path)) for one in mine}
    return {"python": platform.python_version(), CORE_DISTRIBUTION: __version__, "torch": torch, **plugins}


def examine_environment(seconds: float, path: Sequence[str] | None = None) -> Iterator[Report]:
    """Look at every installed plugin; reports come as they are found, in a fixed order.

    Args:
        seconds: the time that the import of one plugin may take, in a process of its own.
        path: the folders to search for plugins, by default `sys.path`.
    """
    registries = _registries(path)
    yield from _unreadable(registries)
    yield from _clashes(registries)
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(AT_ONCE, os.cpu_count() or 1))
    try:
        yield from pool.map(lambda mine: _examined(mine, seconds, stop, path), _by_distribution(registries))
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _registries(path: Sequence[str] | None) -> tuple[Registry, Registry]:
    return Registry.discover(MODELS_GROUP, path), Registry.discover(TEXT_ENCODERS_GROUP, path)


def _by_distribution(registries: Sequence[Registry]) -> list[list[Provider]]:
    """What each distribution provides, in the order of the distributions' names."""
    found: dict[str, list[Provider]] = {}
    for registry in registries:
        for providers in registry.values():
            for provider in providers:
                found.setdefault(normalize_name(provider.distribution), []).append(provider)
    return [found[name] for name in sorted(found)]


def _unreadable(registries: Sequence[Registry]) -> Iterator[Report]:
    for folder in sorted({folder for registry in registries for folder in registry.unreadable}):
        fault = errors.BrokenPluginError.entry_points_unreadable(folder)
        yield Report(folder, (Finding("distribution", folder, folder, "", *fault.parts),))


def _clashes(registries: Sequence[Registry]) -> Iterator[Report]:
    for registry in registries:
        for name, providers in registry.items():
            try:
                registry.provider(name)
            except errors.AmbiguousModelError as clash:
                owners = ", ".join(dict.fromkeys(one.distribution for one in providers))
                yield Report(f"{registry.kind} {name}", (Finding(registry.kind, name, owners, "", *clash.parts),))


def _examined(mine: Sequence[Provider], seconds: float, stop: threading.Event, path: Sequence[str] | None) -> Report:
    """One distribution: its requirement on core, all its requirements, and where these hold, its import."""
    first = mine[0]
    findings: list[Finding] = []
    try:
        first.check_bounds()
    except errors.ZooError as fault:
        findings.append(_finding(first, *fault.parts))
    try:
        first.check_requirements()
        findings += [_finding(*faulty) for faulty in import_in_isolation(mine, seconds, stop, path)]
    except errors.ZooError as fault:
        findings.append(_finding(first, *fault.parts))
    named = ", ".join(f"{one.claim.kind} {one.claim.name}" for one in mine)
    return Report(f"{first.claim.owner}: {named}", tuple(dict.fromkeys(findings)))


def _finding(provider: Provider, problem: str, remedy: str) -> Finding:
    claim = provider.claim
    return Finding(claim.kind, claim.name, claim.distribution, claim.version, problem, remedy)
