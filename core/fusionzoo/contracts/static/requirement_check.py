"""Compare the packages of a contract with the imports of a project and with its requirement files."""

from __future__ import annotations

import ast
import codecs
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import tomli
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from fusionzoo.contracts.static.atoms import ModuleSource
from fusionzoo.contracts.static.source_files import show_place

DISTRIBUTIONS = {
    "sklearn": "scikit-learn",
    "bs4": "beautifulsoup4",
    "PIL": "pillow",
    "cv2": "opencv-python",
    "yaml": "pyyaml",
    "skimage": "scikit-image",
    "dateutil": "python-dateutil",
    "pytorch_lightning": "pytorch-lightning",
    "dotenv": "python-dotenv",
    "google": "protobuf",
    "attr": "attrs",
    "sagemaker_training": "sagemaker-training",
}
"""The distributions of packages that have another name, where they are not installed here."""
CONTAINER = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "extra": ""}
"""What the markers of requirements see in a container; its Python is assumed to be the one that runs this."""
COMMENT, OPTIONS = re.compile(r"(^|\s)#.*$"), re.compile(r"\s+--.*$")
MAX_FILE_BYTES = 1_000_000
STANDARD_LIBRARY = frozenset(sys.stdlib_module_names) | {"__future__"}


@dataclass(frozen=True)
class Import:
    """The first place that imports a package."""

    package: str
    file: Path
    line: int


@dataclass(frozen=True)
class Declared:
    """A requirement of a project, and where it is."""

    requirement: Requirement
    file: Path
    line: int


def find_imports(modules: Iterable[ModuleSource], own: Iterable[str]) -> dict[str, Import]:
    """Return the packages that modules import, inside of functions too, but for those of the project."""
    skipped = STANDARD_LIBRARY | set(own)
    found: dict[str, Import] = {}
    for module in modules:
        for name, line in _list_imports(module.tree):
            package = name.partition(".")[0]
            if package and package not in skipped:
                found.setdefault(package, Import(package, module.path, line))
    return found


def _list_imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Yield the modules that are imported at run time: not for type checking only."""
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module or "", node.lineno
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack.extend(node.orelse)
        elif isinstance(node, ast.stmt | ast.Module | ast.ExceptHandler | ast.match_case):
            stack.extend(reversed(list(ast.iter_child_nodes(node))))


def compare_imports(contract_requirements: Mapping[str, str], imports: Mapping[str, Import]) -> Iterator[str]:
    """Yield warnings about packages that are imported and not declared, and about those declared and not imported."""
    if not contract_requirements:
        return
    declared = {canonicalize_name(name): name for name in contract_requirements}
    used = {_known_distribution(package) for package in imports}
    others = {package: place for package, place in imports.items() if _known_distribution(package) not in declared}
    if others:
        installed = packages_distributions()  # slow, and needed for unusual names only
        names = {package: {canonicalize_name(name) for name in installed.get(package, [])} for package in others}
        used |= {name for found in names.values() for name in found}
        others = {package: place for package, place in others.items() if not names[package] & declared.keys()}
    if others:
        listed = ", ".join(f"{package} ({show_place(place.file, place.line)})" for package, place in others.items())
        yield f"The contract requires no version of these packages, which the code imports: {listed}."
    if unused := [name for key, name in declared.items() if key not in used]:
        yield f"The contract requires {', '.join(unused)}, which the code does not import itself."


def _known_distribution(package: str) -> str:
    """Return the normalized name of the distribution that usually provides a package."""
    return canonicalize_name(DISTRIBUTIONS.get(package, package))


def compare_requirements(contract_requirements: Mapping[str, str], declared: Iterable[Declared]) -> Iterator[str]:
    """Yield an error for each requirement of the project that excludes the version of the contract."""
    versions = {canonicalize_name(name): version for name, version in contract_requirements.items()}
    for one in declared:
        version = versions.get(canonicalize_name(one.requirement.name))
        if version and excludes(one.requirement.specifier, version):
            yield (
                f"{show_place(one.file, one.line)}: {one.requirement} excludes {one.requirement.name}{version}, which "
                f"the contract requires. Fix: write {one.requirement.name}{version}."
            )


def excludes(specifier: SpecifierSet, version: str) -> bool:
    """Return whether a specifier excludes the version that "==" in another one names."""
    exact = [one.version for one in SpecifierSet(version) if one.operator == "==" and "*" not in one.version]
    pinned = [one.version.partition("+") for one in specifier if one.operator == "=="]
    labels = {"", *(f"{plus}{label}" for _, plus, label in pinned)}  # such as +cu121
    return any(not any(specifier.contains(f"{one}{label}", prereleases=True) for label in labels) for one in exact)


def read_requirements(folder: Path) -> Iterator[Declared]:
    """Yield the requirements in the requirement files and in pyproject.toml of a folder."""
    for file in sorted(folder.glob("requirements*.txt")):
        for number, line in _join_lines(_read(file)):
            if requirement := _parse(OPTIONS.sub("", COMMENT.sub("", line))):
                yield Declared(requirement, file, number)
    project = folder / "pyproject.toml"
    text = _read(project)
    try:
        content: dict[str, Any] = tomli.loads(text)
    except tomli.TOMLDecodeError:
        return
    listed = content.get("project", {}) if isinstance(content.get("project"), dict) else {}
    lines = text.splitlines()
    for entry in listed.get("dependencies", []) if isinstance(listed.get("dependencies"), list) else []:
        if requirement := _parse(str(entry)):
            number = next((i for i, line in enumerate(lines, 1) if str(entry) in line), 1)
            yield Declared(requirement, project, number)


def _join_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines of a requirement file with their numbers; a backslash at the end continues a line, as for pip."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if joined else number
        is_continued = line.endswith("\\") and not line.lstrip().startswith("#")
        joined += f"{line[:-1]} " if is_continued else line
        if not is_continued:
            yield start, joined
            joined = ""
    if joined:
        yield start, joined


def _read(file: Path) -> str:
    """Return the text of a file; empty if it cannot be read."""
    try:
        if not file.is_file() or file.stat().st_size > MAX_FILE_BYTES:
            return ""
        content = file.read_bytes()
        is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # which pip reads, too
        return content.decode("utf-16" if is_utf_16 else "utf-8-sig", errors="replace")
    except OSError:
        return ""


def _parse(line: str) -> Requirement | None:
    """Return the requirement on a line; None for an option, a path, another platform, or anything else."""
    try:
        requirement = Requirement(line.strip())
    except InvalidRequirement:
        return None
    is_meant = requirement.marker is None or requirement.marker.evaluate(CONTAINER)
    return requirement if is_meant else None
