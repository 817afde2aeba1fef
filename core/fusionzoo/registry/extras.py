"""The extras: `pip install fusionzoo` scores, `[evaluate]` evaluates, `[serve]` serves over HTTP, `[train]` trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from importlib_metadata import PackageNotFoundError, requires, version
from packaging.requirements import Requirement

from fusionzoo import errors
from fusionzoo.registry.entry_points import CORE_DISTRIBUTION


def check_extra(extra: str) -> None:
    """Check that the packages of an extra are installed, without importing them.

    Raises:
        errors.MissingPackagesError: names the packages that are not.
    """
    missing = list(find_missing_packages(extra))
    if missing:
        raise errors.MissingPackagesError(extra, missing)


def find_missing_packages(
    extra: str,
    read_requirements: Callable[[str], list[str] | None] = requires,
    read_version: Callable[[str], str] = version,
) -> Iterator[str]:
    """Yield the packages of an extra, and of the extras that it includes, that are not installed.

    A copy of the code that pip did not install has no metadata, so nothing is missing for it.
    """
    try:
        requirements = [Requirement(line) for line in read_requirements(CORE_DISTRIBUTION) or ()]
    except PackageNotFoundError:
        return
    for requirement in requirements:
        if not (requirement.marker and "extra" in str(requirement.marker)):
            continue
        if not requirement.marker.evaluate({"extra": extra}):
            continue
        if requirement.name == CORE_DISTRIBUTION:
            for included in sorted(requirement.extras):
                yield from find_missing_packages(included, read_requirements, read_version)
            continue
        try:
            read_version(requirement.name)
        except PackageNotFoundError:
            yield requirement.name
