"""An installed distribution that provides a name: its metadata, its requirements, and the import of its plugin."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from importlib_metadata import Distribution, EntryPoint

from fusionzoo import __version__, errors
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION, GROUP_KINDS
from fusionzoo.registry.plugin import Plugin

if TYPE_CHECKING:
    from packaging.requirements import Requirement

UPPER_BOUND_OPERATORS = ("<", "<=", "~=", "==", "===")


@dataclass(frozen=True)
class Provider:
    """One installed distribution that provides a name. `version` is empty if its metadata cannot be read."""

    entry_point: EntryPoint
    metadata: Distribution
    distribution: str
    version: str

    @property
    def claim(self) -> errors.Claim:
        """Who provides which name, for error messages."""
        point = self.entry_point
        return errors.Claim(GROUP_KINDS[point.group], point.name, self.distribution, self.version, point.value)

    def check_requirements(self) -> None:
        """Check that every installed version meets the distribution's requirements. Imports no plugin.

        Raises:
            errors.IncompatiblePluginError: a requirement is not met.
            errors.BrokenPluginError: the metadata cannot be read.
        """
        if not self.version:
            raise errors.BrokenPluginError.unreadable(self.claim)
        unmet: list[tuple[str, str | None]] = []
        try:
            for requirement in self._iterate_requirements():
                is_core = normalize_name(requirement.name) == CORE_DISTRIBUTION
                dist = None if is_core else find_distribution(requirement.name, sys.path)
                installed = __version__ if is_core else dist.version if dist else None
                if not installed or not requirement.specifier.contains(installed, prereleases=True):
                    source = f" @ {requirement.url}" if requirement.url else str(requirement.specifier)
                    text = requirement.name + source
                    if is_core:
                        raise errors.IncompatiblePluginError.core(self.claim, text, __version__)
                    unmet.append((text, installed))
        except ValueError as cause:  # packaging cannot parse a requirement, marker or version
            raise errors.BrokenPluginError.unreadable(self.claim, cause) from cause
        if unmet:
            raise errors.IncompatiblePluginError.requirements(self.claim, unmet)

    def check_core_upper_bound(self) -> None:
        """Check that the distribution requires fusionzoo with an upper bound.

        Raises:
            errors.IncompatiblePluginError: it does not require fusionzoo, or accepts every future version.
            errors.BrokenPluginError: the metadata cannot be read.
        """
        requirements = self.find_requirements(CORE_DISTRIBUTION)
        specifiers = [specifier for requirement in requirements for specifier in requirement.specifier]
        if not any(specifier.operator in UPPER_BOUND_OPERATORS for specifier in specifiers):
            raise errors.IncompatiblePluginError.unbounded(
                self.claim, ", ".join(map(str, requirements)), core_version_bounds()
            )

    def find_requirements(self, distribution: str) -> list[Requirement]:
        """Return what the distribution requires of another one, without extras.

        Raises:
            errors.BrokenPluginError: the metadata cannot be read.
        """
        if not self.version:
            raise errors.BrokenPluginError.unreadable(self.claim)
        name = normalize_name(distribution)
        try:
            return [found for found in self._iterate_requirements() if normalize_name(found.name) == name]
        except ValueError as cause:
            raise errors.BrokenPluginError.unreadable(self.claim, cause) from cause

    def load(self) -> Plugin:
        """Check the requirements, import the plugin, and check its hooks.

        Raises:
            errors.IncompatiblePluginError: a requirement is not met.
            errors.BrokenPluginError: the import fails, or a hook is wrong.
        """
        self.check_requirements()
        try:
            implementation = self.entry_point.load()
        except (Exception, SystemExit) as cause:
            raise errors.BrokenPluginError.import_failed(self.claim, cause) from cause
        return Plugin(self.entry_point.group, self.claim, implementation)

    def _iterate_requirements(self) -> Iterator[Requirement]:
        """Yield the requirements that apply to this Python and platform without extras. Raises ValueError."""
        from packaging.requirements import Requirement

        for line in self.metadata.requires or ():
            requirement = Requirement(line)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield requirement


def read_identity(dist: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version; the name of its metadata folder and "" if they cannot be read."""
    try:
        name, version = dist.metadata["Name"], dist.metadata["Version"]
    except Exception:  # noqa: BLE001 - versions differ in what broken metadata raises, and it may be of any package
        return metadata_folder_name(dist), ""
    return (name, version) if name and version else (metadata_folder_name(dist), "")


def find_distribution(name: str, folders: Sequence[str]) -> Distribution | None:
    """Return the first readable distribution of this name on the path: the one that Python imports."""
    candidates = Distribution.discover(name=name, path=list(folders))
    return next((dist for dist in candidates if read_identity(dist)[1]), None)


def metadata_folder_name(dist: Distribution) -> str:
    """Return the name of the distribution's .dist-info folder."""
    return PurePath(str(getattr(dist, "_path", dist.locate_file("")))).name


def core_version_bounds() -> str:
    """Return the requirement of a plugin for this fusionzoo: before 1.0, a minor version may break the contract."""
    major, minor = map(int, __version__.split(".")[:2])
    return f"{CORE_DISTRIBUTION}[train]>={major}.{minor},<{f'{major}.{minor + 1}' if major == 0 else major + 1}"


def normalize_name(name: str) -> str:
    """Return a distribution's name in the normalized form of PEP 503."""
    return re.sub(r"[-_.]+", "-", name).lower()
