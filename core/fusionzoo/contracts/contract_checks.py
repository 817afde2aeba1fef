"""What can be wrong with a contract itself."""

from __future__ import annotations

import keyword
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import product
from pathlib import PurePosixPath

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from fusionzoo.contracts.job_kinds import CHANNEL_NAME, CHANNELS_FOLDER, JobKind, channel_of, is_inside
from fusionzoo.errors import Problem, contract_errors

ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,511}")
MAX_ENVIRONMENT_VALUE = 512
"""Characters; the limits are those of TrainingEnvironmentMap in botocore's service model."""
ARGUMENT_NAME = re.compile(r"[a-z][a-z0-9_-]*")

Paths = Mapping[str, str]  # logical name -> absolute path


def check_entry_point(entry_point: str) -> Iterator[Problem]:
    """Yield a problem unless the entry point is the relative path of a Python file."""
    path = PurePosixPath(entry_point)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".py" or "\\" in entry_point:
        yield contract_errors.invalid_entry_point(entry_point)


def check_paths(inputs: Paths, outputs: Paths, kind: JobKind) -> Iterator[Problem]:
    """Yield the problems of all paths of a contract."""
    named = [*(("expected_input_paths", *item) for item in inputs.items())]
    named += [*(("expected_output_paths", *item) for item in outputs.items())]
    for field, name, path in named:
        is_mounted = kind.mounts_input if field == "expected_input_paths" else kind.mounts_output
        if not name.isidentifier():
            yield contract_errors.invalid_logical_name(field, name)
        if not _is_normal(path):
            yield contract_errors.path_not_absolute(field, name, path)
        elif not is_mounted(path):
            places = kind.inputs if field == "expected_input_paths" else kind.outputs
            yield contract_errors.path_not_mounted(field, name, path, kind.container_type, places)
    yield from _check_duplicates(inputs, outputs)
    yield from _check_overlaps(inputs, outputs)


def check_channels(inputs: Paths, optional: Collection[str], kind: JobKind) -> Iterator[Problem]:
    """Yield the problems of the channels that inputs belong to, and of their number."""
    for name, path in inputs.items():
        channel = channel_of(path)
        if _is_normal(path) and channel is not None and not CHANNEL_NAME.fullmatch(channel):
            yield contract_errors.invalid_channel_name(name, path, CHANNELS_FOLDER)
    required = {path for name, path in inputs.items() if name not in optional}
    count = len({channel_of(path) or path for path in required if not is_inside(path, f"{kind.inputs[0]}/config")})
    if count > kind.max_inputs:
        yield contract_errors.too_many_inputs(count, kind.max_inputs, kind.container_type)


def check_environment(required: Iterable[str], optional: Mapping[str, str]) -> Iterator[Problem]:
    """Yield the problems of the names of environment variables and of their defaults."""
    names = [*required, *optional]
    for name in dict.fromkeys(names):
        if not ENVIRONMENT_NAME.fullmatch(name):
            yield contract_errors.invalid_variable_name(name)
        if names.count(name) > 1:
            yield contract_errors.declared_twice("environment variable", name)
    for name, default in optional.items():
        if len(default) > MAX_ENVIRONMENT_VALUE or not default.isprintable():
            yield contract_errors.invalid_variable_default(name, default, MAX_ENVIRONMENT_VALUE)


def check_requirements(*requirements: Mapping[str, str]) -> Iterator[Problem]:
    """Yield a problem for each package or version that pip cannot parse, and for each package listed twice."""
    seen: set[str] = set()
    for package, version in (item for group in requirements for item in group.items()):
        try:
            parsed = Requirement(package)
            SpecifierSet(version)
        except (InvalidRequirement, InvalidSpecifier) as cause:
            yield contract_errors.invalid_requirement(package, version, cause)
            continue
        if parsed.specifier or parsed.url or parsed.marker:
            yield contract_errors.invalid_requirement(package, version, "the version is not in the value")
        name = canonicalize_name(parsed.name)
        if name in seen:
            yield contract_errors.declared_twice("package", package)
        seen.add(name)


def check_references(field: str, names: Iterable[str], declared: Collection[str]) -> Iterator[Problem]:
    """Yield a problem for each name in a field that the contract does not declare."""
    for name in names:
        if name not in declared:
            yield contract_errors.undeclared_name(field, name, declared)


def check_artifacts(artifacts: Mapping[str, Iterable[str]]) -> Iterator[Problem]:
    """Yield a problem for each artifact that is not below the folder of its output."""
    for output, files in artifacts.items():
        for file in files:
            if not file or PurePosixPath(file).is_absolute() or ".." in PurePosixPath(file).parts:
                yield contract_errors.artifact_outside_output(output, file)


def check_arguments(arguments: Iterable[str]) -> Iterator[Problem]:
    """Yield a problem for each name that cannot be a command-line option."""
    for name in arguments:
        if not ARGUMENT_NAME.fullmatch(name):
            yield contract_errors.invalid_argument(name)


def _is_normal(path: str) -> bool:
    """Return whether a path is absolute and written in one way only, without `..`, `//` or a final slash."""
    return path.isprintable() and path.startswith("/") and ".." not in path.split("/") and str(_posix(path)) == path


def _posix(path: str) -> PurePosixPath:
    return PurePosixPath("/", *PurePosixPath(path).parts[1:])


def _check_duplicates(inputs: Paths, outputs: Paths) -> Iterator[Problem]:
    for name in inputs.keys() & outputs.keys():
        yield contract_errors.declared_twice("logical name", name)
    paths = [*inputs.values(), *outputs.values()]
    for path in dict.fromkeys(paths):
        if paths.count(path) > 1:
            yield contract_errors.declared_twice("path", path)


def _check_overlaps(inputs: Paths, outputs: Paths) -> Iterator[Problem]:
    """Yield a problem for each output inside an input, which is read-only, and each input that would be uploaded."""
    for (source, read), (target, written) in product(inputs.items(), outputs.items()):
        if read != written and (is_inside(written, read) or is_inside(read, written)):
            yield contract_errors.output_overlaps_input(target, written, source, read)


def check_functions(functions: Mapping[str, Iterable[str]]) -> Iterator[Problem]:
    """Yield a problem for each function or parameter that cannot be defined in Python."""
    for function, parameters in functions.items():
        for name in (function, *parameters):
            if not name.isidentifier() or keyword.iskeyword(name):
                yield contract_errors.invalid_function(function, name)
