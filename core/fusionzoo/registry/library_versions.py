"""Pairs of libraries that cannot be installed together, although their metadata allows it.

torch before 2.3 was compiled for NumPy 1, but does not say so: pip puts NumPy 2 and a transformers that turns torch off
next to the torch of an AWS image. The extra `torch21` states what fits such a torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from importlib_metadata import PackageNotFoundError, requires, version
from packaging.requirements import Requirement
from packaging.version import Version

from fusionzoo import errors

NEEDED_VERSIONS = (  # with the first, the second is needed
    ("numpy>=2", "torch>=2.3"),
    ("numpy>=2", "pyarrow>=16"),
    ("numpy>=2", "onnxruntime>=1.19"),
    ("scipy>=1.13", "gensim>=4.3.3"),
)


def check_library_versions() -> None:
    """Check that the installed libraries work together.

    Raises:
        errors.LibraryVersionsError: names the libraries that do not.
    """
    for error in find_version_conflicts():
        raise error


def find_version_conflicts(
    read_version: Callable[[str], str] = version, read_requirements: Callable[[str], list[str] | None] = requires
) -> Iterator[errors.LibraryVersionsError]:
    """Yield an error for each pair of installed libraries that do not work together. Imports none of them."""

    def is_installed(requirement: Requirement) -> bool | None:
        """Return whether the installed version is one of these; None if the library is not installed."""
        try:
            installed = Version(read_version(requirement.name))
        except PackageNotFoundError:
            return None
        return requirement.specifier.contains(Version(installed.base_version))

    pairs = [(Requirement(one), Requirement(other)) for one, other in NEEDED_VERSIONS]
    if is_installed(recent := Requirement("transformers>=4.56")):  # earlier ones work with older torch than they state
        pairs += [(recent, torch) for torch in _list_torch(read_requirements("transformers"))]
    for one, other in pairs:
        if is_installed(one) and is_installed(other) is False:
            yield errors.LibraryVersionsError(
                (one.name, read_version(one.name)),
                (other.name, read_version(other.name)),
                str(other),
                str(one).replace(">=", "<"),
            )


def _list_torch(requirements: list[str] | None) -> Iterator[Requirement]:
    """Yield what transformers requires of torch in its extra `torch`: it turns an older torch off."""
    for line in requirements or ():
        requirement = Requirement(line)
        if requirement.name == "torch" and requirement.marker and requirement.marker.evaluate({"extra": "torch"}):
            yield Requirement(f"torch{requirement.specifier}")
