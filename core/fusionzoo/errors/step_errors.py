"""Steps of a SageMaker pipeline: settings and inputs that SageMaker or the script would refuse."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.wording import list_names, nearest_names, note_lookalikes, quote_name, quoted, short


class StepConfigurationError(ProblemsError):
    """All problems of a step or a pipeline, found before anything is sent to AWS."""

    heading = "The pipeline cannot be built: {count}."


class MissingSageMakerSDKError(ZooError):
    """Steps of a pipeline are objects of the SageMaker Python SDK, which is an optional package."""

    def __init__(self, cause: Exception | str) -> None:
        super().__init__(
            f"Building a pipeline requires the SageMaker Python SDK, version 2.215 or later and before 3 ({cause}).",
            "run pip install 'fusionzoo[sagemaker]' in this environment.",
            "FZ-W001",
        )


def exceeds_service_limit(where: str, message: str) -> Problem:
    """AWS would refuse the request: the service model of botocore states the limit."""
    return Problem(where, message, "change this value; the API reference of SageMaker states the limit", "FZ-W002")


def too_many_hyperparameters(count: int, limit: int) -> Problem:
    """SageMaker passes a limited number of hyperparameters to a job."""
    fix = f"remove some, or put a hyperparameters.json into a channel named config; at most {limit} fit"
    return Problem("hyperparameters", f"there are {count} hyperparameters", fix, "FZ-W003")


def hyperparameter_too_long(name: str, length: int, limit: int) -> Problem:
    """SageMaker limits the text of a hyperparameter."""
    message = f"the value has {length:,} characters as JSON text, and SageMaker accepts at most {limit:,}"
    fix = "put a hyperparameters.json with this value into a channel named config"
    return Problem(f"hyperparameters[{quote_name(name)}]", message, fix, "FZ-W004")


def unencodable_hyperparameter(name: str, cause: Exception) -> Problem:
    """Hyperparameters travel as JSON text, and NaN, infinity and objects of Python have none."""
    message = f"the value cannot be written as JSON ({short(cause)})"
    fix = "give a text, a finite number, true, false, null, or a list or object of these"
    return Problem(f"hyperparameters[{quote_name(name)}]", message, fix, "FZ-W005")


def invalid_hyperparameter_name(name: str, limit: int) -> Problem:
    """SageMaker limits the names of hyperparameters, and reserves a prefix for itself."""
    message = f"the name is empty, longer than {limit} characters, or begins with sagemaker_"
    return Problem(f"hyperparameters[{quote_name(name)}]", message, "rename or remove it", "FZ-W006")


def invalid_metric_regex(name: str, regex: str, cause: Exception | str) -> Problem:
    """SageMaker searches the log with the regular expression; its first group is the value."""
    fix = f"write a regular expression with one group, such as {quote_name(f'#metric {name}=([-0-9.]+);')}"
    return Problem(f"metric_definitions[{quote_name(name)}]", f"{quote_name(regex)}: {short(cause)}", fix, "FZ-W007")


def contradicting_step_settings(name: str, message: str, fix: str) -> Problem:
    """Two settings of a step exclude each other, or one requires the other.

    Fix: change one of the settings that the message names.
    """
    return Problem(name, message, fix, "FZ-W008")


def missing_step_setting(name: str, fix: str) -> Problem:
    """The step cannot run without this setting.

    Fix: give the setting; the message says what it is.
    """
    return Problem(name, "a value is required", fix, "FZ-W009")


def invalid_tag(key: str, message: str) -> Problem:
    """AWS reserves the prefix aws: of tags, in any case."""
    return Problem(f"tags[{quote_name(key)}]", message, "choose another key", "FZ-W010")


def missing_step_input(step: str, name: str, sources: Iterable[str], found: Collection[str]) -> Problem:
    """A required input of the script has no source."""
    steps = f"add the step {' or '.join(map(quote_name, sources))} before it, or " if sources else ""
    message = f"no step provides the required input {quote_name(name)}"
    if found:
        message = f"the steps {quoted(found)} all provide the input {quote_name(name)}"
        steps = ""
    return Problem(step, message, f"{steps}give inputs={{{quote_name(name)}: S3 URI}}", "FZ-W011")


def unknown_step_input(step: str, name: str, known: Collection[str]) -> Problem:
    """The contract of the script has no such input."""
    nearest = nearest_names(name, known)
    fix = f"write {quote_name(nearest[0])}" if nearest else f"use one of {list_names(sorted(known), 200)}"
    return Problem(step, f"the step has no input {quote_name(name)}{note_lookalikes([name], known)}", fix, "FZ-W012")


def invalid_step_input(step: str, name: str, value: object) -> Problem:
    """An input is an S3 URI, or a value that the pipeline computes."""
    message = f"the input {quote_name(name)} is {quote_name(str(value))}, not an S3 URI"
    return Problem(step, message, "give s3://BUCKET/PREFIX, or a property or parameter of the pipeline", "FZ-W013")


def unknown_argument(name: str, known: Collection[str]) -> Problem:
    """The contract of the processing script has no such option."""
    nearest = nearest_names(name, known)
    fix = f"write {quote_name(nearest[0])}" if nearest else f"use one of {list_names(sorted(known), 200)}"
    message = f"the script has no option {quote_name(name)}{note_lookalikes([name], known)}"
    return Problem("arguments", message, fix, "FZ-W014")


def script_does_not_comply(step: str, summary: str, errors: Sequence[str]) -> Problem:
    """The script of the step would fail in the container, or lose its results."""
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    message = f"{summary}: {errors[0] if errors else 'no reason is given'}{more}"
    return Problem(step, message, "correct the script; fusionzoo contract validate SCRIPT shows all errors", "FZ-W015")


def missing_step_script(step: str, path: Path) -> Problem:
    """The entry point of the step's contract is not in the source folder."""
    return Problem(step, f"the script {path} does not exist", "set source_dir to the folder of the script", "FZ-W016")


def unsuitable_source_folder(step: str, path: Path, message: str, fix: str) -> Problem:
    """The SDK uploads the whole source folder, and the container installs what it declares.

    Fix: remove what the message names, or use another folder.
    """
    return Problem(f"{step}, {path}", message, fix, "FZ-W017")


def duplicate_step(name: str) -> Problem:
    """The names of a pipeline's steps must differ."""
    return Problem("pipeline", f"two steps have the name {quote_name(name)}", "set name for one of them", "FZ-W018")


def misaligned_step(step: str, errors: Sequence[str]) -> Problem:
    """The specification of a step contradicts the contract of its script."""
    return Problem(step, "; ".join(errors), "build it with StepSpecification.for_contract", "FZ-W019")


def refused_by_sdk(step: str, cause: Exception) -> Problem:
    """The SageMaker Python SDK refuses the combination of settings."""
    return Problem(step, f"the SageMaker Python SDK refuses it ({short(cause)})", "change what it names", "FZ-W020")


def invalid_role(role: str) -> Problem:
    """The SDK would look up the ARN of a role by its name, which requires more permissions."""
    fix = "give the whole ARN, such as arn:aws:iam::123456789012:role/NAME"
    return Problem("role", f"{quote_name(role)} is not the ARN of an IAM role", fix, "FZ-W021")


def wrong_settings_class(step: str, given: str, expected: str) -> Problem:
    """A builder needs the settings of its own kind of step: those of another kind lack some of them."""
    return Problem(step, f"its settings are {given}, not {expected}", f"give {expected}(...)", "FZ-W022")


def undefined_parameter(name: str, known: Collection[str]) -> Problem:
    """A step refers to a parameter that the pipeline does not define."""
    nearest = nearest_names(name, known)
    write = f"write {quote_name(nearest[0])}, or " if nearest else ""
    fix = f"{write}give the parameter {quote_name(name)} in PipelineBuilder(parameters=[...])"
    return Problem("pipeline", f"it has no parameter {quote_name(name)}, which a step refers to", fix, "FZ-W023")
