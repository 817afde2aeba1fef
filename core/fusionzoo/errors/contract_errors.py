"""Script contracts: what is wrong with a contract itself."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.wording import list_names, nearest_names, note_lookalikes, pluralize, quote_name, quoted, short


class ContractError(ProblemsError):
    """All problems of one contract."""

    heading = "The contract is wrong: {count}"


class ContractFileError(ZooError):
    """A contract that a command names cannot be found or read."""

    @classmethod
    def unknown_name(cls, name: str, known: Sequence[str]) -> ContractFileError:
        """The name is misspelled, or the contract is in a file."""
        nearest = nearest_names(name, known)
        question = f" Did you mean {quote_name(nearest[0])}?" if nearest else ""
        fix = f"use one of {list_names(known)}, or the path of a .json file that holds a contract."
        return cls(f"There is no contract {quote_name(name)}.{question}", fix, "FZ-K017")

    @classmethod
    def unreadable(cls, path: Path, cause: Exception) -> ContractFileError:
        """The file does not exist, or does not hold a JSON object."""
        fix = "give a JSON file with the fields that `fusionzoo contract show pytorch_train --json` prints."
        return cls(f"The contract {path} cannot be read ({short(cause)}).", fix, "FZ-K018")


def invalid_field(field: str, message: str) -> Problem:
    """A field of a contract is missing, is unknown, or has a value of another type."""
    fix = "compare with `fusionzoo contract show pytorch_train --json`"
    return Problem(field, message[:1].lower() + message[1:], fix, "FZ-K019")


def invalid_entry_point(entry_point: str) -> Problem:
    """The entry point must be a Python file in the source folder."""
    fix = 'give the path of a .py file relative to the source folder, such as "train.py"'
    return Problem("entry_point", f"{quote_name(entry_point)} is not a relative path of a .py file", fix, "FZ-K001")


def unknown_job_kind(container_type: str, known: Iterable[str]) -> Problem:
    """The kind of job decides which paths exist in the container."""
    message = f"{quote_name(container_type)} is not a kind of SageMaker job"
    return Problem("container_type", message, f"use one of {quoted(known)}", "FZ-K002")


def invalid_logical_name(field: str, name: str) -> Problem:
    """A logical name becomes the name of a dependency or an output of a pipeline step."""
    fix = "use letters, digits and underscores, and begin with a letter"
    return Problem(field, f"the logical name {quote_name(name)} is not an identifier", fix, "FZ-K003")


def path_not_absolute(field: str, name: str, path: str) -> Problem:
    """Paths are compared as text, so a contract writes each of them in one way."""
    fix = "write the absolute path without .., double slashes, a final slash or control characters"
    return Problem(
        f"{field}[{quote_name(name)}]", f"{quote_name(path)} is not a normalized absolute path", fix, "FZ-K004"
    )


def path_not_mounted(field: str, name: str, path: str, kind: str, places: Collection[str]) -> Problem:
    """The container does not mount the path, so that an input is not there or an output is lost."""
    fix = f"use a path in {', '.join(places)}" if places else f"remove it: a {kind} keeps no files"
    message = f"{quote_name(path)} is outside the paths that a {kind} mounts"
    return Problem(f"{field}[{quote_name(name)}]", message, fix, "FZ-K005")


def invalid_channel_name(name: str, path: str, folder: str) -> Problem:
    """SageMaker accepts at most 64 letters, digits, dots, underscores and hyphens as the name of a channel."""
    message = f"{quote_name(path)} names no channel that SageMaker accepts"
    fix = f"use {folder}/CHANNEL, with at most 64 letters, digits, dots, underscores and hyphens"
    return Problem(f"expected_input_paths[{quote_name(name)}]", message, fix, "FZ-K006")


def too_many_inputs(count: int, limit: int, kind: str) -> Problem:
    """SageMaker refuses a request with more inputs."""
    message = f"{pluralize(count, 'required input')}, but a {kind} has at most {limit}"
    return Problem("expected_input_paths", message, "combine inputs, or make some of them optional", "FZ-K007")


def declared_twice(what: str, name: str) -> Problem:
    """A contract declares each path, logical name, variable and package once."""
    return Problem("contract", f"the {what} {quote_name(name)} is declared twice", "remove one of the two", "FZ-K008")


def output_overlaps_input(output: str, written: str, source: str, read: str) -> Problem:
    """Inputs are read-only, and SageMaker uploads everything in an output folder."""
    message = f"the output {quote_name(written)} and the input {quote_name(source)} ({read}) contain each other"
    fix = "give inputs and outputs separate folders"
    return Problem(f"expected_output_paths[{quote_name(output)}]", message, fix, "FZ-K009")


def invalid_variable_name(name: str) -> Problem:
    """SageMaker accepts letters, digits and underscores as the name of an environment variable."""
    message = f"{quote_name(name)} is not the name of an environment variable"
    return Problem("environment variables", message, "use letters, digits and underscores", "FZ-K010")


def invalid_variable_default(name: str, default: str, limit: int) -> Problem:
    """SageMaker limits the values of environment variables."""
    message = f"the default {quote_name(default)} is too long or contains control characters"
    fix = f"use at most {limit} printable characters"
    return Problem(f"optional_env_vars[{quote_name(name)}]", message, fix, "FZ-K011")


def invalid_requirement(package: str, version: str, cause: Exception | str) -> Problem:
    """The package and its version become a line of a requirements file."""
    message = f"pip cannot parse {quote_name(package + version)} ({short(cause)})"
    fix = 'write {"package": "==1.2.3"}'
    return Problem(f"framework_requirements[{quote_name(package)}]", message, fix, "FZ-K012")


def undeclared_name(field: str, name: str, declared: Collection[str]) -> Problem:
    """A field refers to a path or variable that the contract does not declare."""
    nearest = nearest_names(name, declared)
    fix = f"write {quote_name(nearest[0])}" if nearest else f"use one of {list_names(sorted(declared), 200)}"
    message = f"the contract declares no {quote_name(name)}{note_lookalikes([name], declared)}"
    return Problem(field, message, fix, "FZ-K013")


def artifact_outside_output(output: str, file: str) -> Problem:
    """An artifact is a file or folder in the folder of its output."""
    message = f"{quote_name(file)} is not a path in the folder of the output"
    return Problem(
        f"artifacts[{quote_name(output)}]", message, 'write a relative path, such as "model.onnx"', "FZ-K014"
    )


def invalid_argument(name: str) -> Problem:
    """A processing job passes its arguments as options of the command line."""
    message = f"{quote_name(name)} cannot be a command-line option"
    fix = "use lower-case letters, digits, hyphens and underscores, without the leading dashes"
    return Problem("arguments", message, fix, "FZ-K015")


def invalid_function(function: str, name: str) -> Problem:
    """SageMaker's inference toolkit calls functions by name."""
    message = f"{quote_name(name)} is not a name that Python accepts"
    return Problem(f"functions[{quote_name(function)}]", message, "write a Python identifier", "FZ-K016")
