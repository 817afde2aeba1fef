"""Diagnose every installed plugin: name clashes, metadata, requirements, and the import."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from importlib_metadata import PackageNotFoundError, version

from fusionzoo import __version__, errors
from fusionzoo.container_limits import count_cores
from fusionzoo.registry import library_versions
from fusionzoo.registry.discovery import Registry
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, GROUP_KINDS, MODELS_GROUP, TEXT_ENCODERS_GROUP
from fusionzoo.registry.isolated_import import import_in_isolation
from fusionzoo.registry.providers import Provider, normalize_name
from fusionzoo.registry.unread_groups import find_unread_groups

MAX_PROCESSES = 4  # at the same time; each imports torch


@dataclass(frozen=True)
class Finding:
    """One problem with what a distribution provides, and its fix.

    `kind` is `model_class` or `text_encoder`; `distribution` if that is not known. For a name clash, `distribution`
    lists every distribution that provides the name.
    """

    kind: str
    name: str
    distribution: str
    version: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Diagnosis:
    """What was examined, and the problems found in it."""

    subject: str
    findings: tuple[Finding, ...]


def collect_versions(path: Sequence[str] | None = None) -> dict[str, str]:
    """Return the versions of Python, core, torch ("" if it is not installed) and each plugin, by distribution."""
    try:
        torch = version("torch")
    except PackageNotFoundError:
        torch = ""
    groups = _group_by_distribution(_discover_registries(path))
    plugins = {provider.distribution: provider.version for providers in groups for provider in providers}
    return {"python": platform.python_version(), CORE_DISTRIBUTION: __version__, "torch": torch, **plugins}


def examine_environment(seconds: float, path: Sequence[str] | None = None) -> Iterator[Diagnosis]:
    """Examine every installed plugin. Diagnoses are yielded as soon as they are complete, in a fixed order.

    Args:
        seconds: the timeout of one plugin's import, which runs in a process of its own.
        path: the folders to search for plugins, by default `sys.path`.
    """
    registries = _discover_registries(path)
    yield from _find_version_conflicts()
    yield from _find_unreadable_metadata(registries)
    yield from _find_misspelled_groups(path)
    yield from _find_name_clashes(registries)
    stop = threading.Event()
    pool = ThreadPoolExecutor(min(MAX_PROCESSES, count_cores()))
    try:
        groups = _group_by_distribution(registries)
        yield from pool.map(lambda providers: _examine_distribution(providers, seconds, stop, path), groups)
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _discover_registries(path: Sequence[str] | None) -> tuple[Registry, Registry]:
    return Registry.discover(MODELS_GROUP, path), Registry.discover(TEXT_ENCODERS_GROUP, path)


def _group_by_distribution(registries: Sequence[Registry]) -> list[list[Provider]]:
    """Return what each distribution provides, sorted by the distributions' names."""
    groups: dict[str, list[Provider]] = {}
    for registry in registries:
        for providers in registry.values():
            for provider in providers:
                groups.setdefault(normalize_name(provider.distribution), []).append(provider)
    return [groups[name] for name in sorted(groups)]


def _find_unreadable_metadata(registries: Sequence[Registry]) -> Iterator[Diagnosis]:
    for folder in sorted({folder for registry in registries for folder in registry.unreadable}):
        error = errors.BrokenPluginError.entry_points_unreadable(folder)
        yield Diagnosis(folder, (Finding("distribution", folder, folder, "", *error.parts),))


def _find_version_conflicts() -> Iterator[Diagnosis]:
    for error in library_versions.find_version_conflicts():
        finding = Finding("distribution", error.first[0], *error.first, *error.parts)
        yield Diagnosis(" ".join(error.first), (finding,))


def _find_misspelled_groups(path: Sequence[str] | None) -> Iterator[Diagnosis]:
    for unread in find_unread_groups(path):
        error = errors.BrokenPluginError.unknown_group(unread.owner, unread.group, unread.names, list(GROUP_KINDS))
        finding = Finding("distribution", unread.distribution, unread.distribution, unread.version, *error.parts)
        yield Diagnosis(unread.owner, (finding,))


def _find_name_clashes(registries: Sequence[Registry]) -> Iterator[Diagnosis]:
    for registry in registries:
        for name, providers in registry.items():
            try:
                registry.provider(name)
            except errors.AmbiguousModelError as clash:
                distributions = ", ".join(dict.fromkeys(provider.distribution for provider in providers))
                finding = Finding(registry.kind, name, distributions, "", *clash.parts)
                yield Diagnosis(f"{registry.kind} {name}", (finding,))


def _examine_distribution(
    providers: Sequence[Provider], seconds: float, stop: threading.Event, path: Sequence[str] | None
) -> Diagnosis:
    """Examine one distribution: its requirement on core, all requirements, and if they are met, its import."""
    first = providers[0]
    findings: list[Finding] = []
    try:
        first.check_core_upper_bound()
    except errors.ZooError as error:
        findings.append(_create_finding(first, *error.parts))
    try:
        first.check_requirements()
        results = import_in_isolation(providers, seconds, stop, path)
        findings += [_create_finding(result.provider, *result.problem) for result in results if result.problem]
    except errors.ZooError as error:
        findings.append(_create_finding(first, *error.parts))
    names = ", ".join(f"{provider.claim.kind} {provider.claim.name}" for provider in providers)
    return Diagnosis(f"{first.claim.owner}: {names}", tuple(dict.fromkeys(findings)))


def _create_finding(provider: Provider, problem: str, remedy: str) -> Finding:
    claim = provider.claim
    return Finding(claim.kind, claim.name, claim.distribution, claim.version, problem, remedy)
