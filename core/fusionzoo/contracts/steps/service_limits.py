"""Checks requests against the limits in botocore's model of SageMaker, most of which botocore does not enforce."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.errors import Problem, step_errors

OPERATIONS = MappingProxyType(
    {
        "Training": "CreateTrainingJob",
        "Processing": "CreateProcessingJob",
        "Model": "CreateModel",
        "RegisterModel": "CreateModelPackage",
    }
)
"""The operation that SageMaker calls with the arguments of each type of step."""
NAMED_BY_SAGEMAKER = frozenset({"TrainingJobName", "ProcessingJobName", "ModelName"})
"""Required members that the execution of a pipeline fills in."""
PARAMETER_PREFIX = "Parameters."
MAX_LISTED_VALUES, MAX_SHOWN_LENGTH = 8, 60


class ServiceLimits:
    """The limits of SageMaker's requests: members, lengths, ranges, patterns and values of enumerations."""

    def __init__(self) -> None:
        self._service = import_sdk_module("botocore.session").Session().get_service_model("sagemaker")
        self._regex = import_sdk_module("regex")  # the patterns have classes such as \p{L}, which `re` does not know

    def check_pipeline(self, request: dict[str, Any], definition: str) -> Iterator[Problem]:
        """Yield the problems of a CreatePipeline request and of the requests of the steps in its definition.

        Args:
            request: the members of the request, without the definition.
            definition: the definition of the pipeline, as JSON text.
        """
        filled_in = {"ClientRequestToken": "0" * 32}  # the SDK or botocore generates it
        yield from self.check_request(
            "CreatePipeline", {**request, **filled_in, "PipelineDefinition": definition}, "pipeline"
        )
        content = json.loads(definition)
        defined = {parameter["Name"] for parameter in content["Parameters"]}
        for name in sorted(_find_parameters(content["Steps"]) - defined):
            yield step_errors.undefined_parameter(name, sorted(defined))
        for step in content["Steps"]:
            yield from self._check(self._service.shape_for("StepName"), step["Name"], f"{step['Name']}, name")
            if operation := OPERATIONS.get(step["Type"]):
                yield from self.check_request(operation, step["Arguments"], step["Name"])

    def check_request(self, operation: str, request: dict[str, Any], place: str) -> Iterator[Problem]:
        """Yield the problems of one request. Values that only the pipeline's execution knows are not checked."""
        yield from self._check(self._service.operation_model(operation).input_shape, request, place)

    def _check(self, shape: Any, value: Any, place: str) -> Iterator[Problem]:
        if _is_computed(value):
            return
        if not _has_type(shape.type_name, value):
            yield _limit(place, f"{_show(value)} is not a {shape.type_name}")
        elif shape.type_name == "structure":
            yield from self._check_structure(shape, value, place)
        elif shape.type_name == "list":
            yield from _check_size(shape, len(value), "items", place)
            for index, item in enumerate(value):
                yield from self._check(shape.member, item, f"{place}[{index}]")
        elif shape.type_name == "map":
            yield from _check_size(shape, len(value), "entries", place)
            for key, item in value.items():
                yield from self._check(shape.key, key, f"a key of {place}")
                yield from self._check(shape.value, item, f"{place}[{_show(key)}]")
        elif shape.type_name == "string":
            yield from self._check_text(shape, value, place)
        elif shape.type_name in ("integer", "long", "float", "double"):
            yield from _check_size(shape, value, "", place)

    def _check_structure(self, shape: Any, value: dict[str, Any], place: str) -> Iterator[Problem]:
        for name in shape.required_members:
            if name not in value and name not in NAMED_BY_SAGEMAKER:
                yield _limit(place, f"the required member {name} is missing")
        for name, item in value.items():
            if name in shape.members:
                yield from self._check(shape.members[name], item, f"{place}, {name}")
            else:
                yield _limit(place, f"the request has no member {_show(name)}")

    def _check_text(self, shape: Any, value: str, place: str) -> Iterator[Problem]:
        yield from _check_size(shape, len(value), "characters", place)
        if (pattern := shape.metadata.get("pattern")) and not self._matches(pattern, value):
            yield _limit(place, f"{_show(value)} does not match the pattern {pattern}")
        if (values := shape.enum) and value not in values:
            similar = [name for name in values if name[:6] == value[:6]] or values
            first = ", ".join(similar[:MAX_LISTED_VALUES])
            yield _limit(place, f"{_show(value)} is none of the values that this version of boto3 knows: {first}, ...")

    def _matches(self, pattern: str, value: str) -> bool:
        """Return whether a text matches; also true for Java patterns of surrogates, which only Athena's names have."""
        try:
            compiled = self._regex.compile(pattern, self._regex.DOTALL)
        except self._regex.error:
            return True
        return compiled.fullmatch(value) is not None


def _check_size(shape: Any, size: float, unit: str, place: str) -> Iterator[Problem]:
    bounds = shape.metadata
    if not bounds.get("min", size) <= size <= bounds.get("max", size):
        limits = [f"at {word} {bounds[key]:,}" for key, word in (("min", "least"), ("max", "most")) if key in bounds]
        yield _limit(place, f"it is {size:,}, and SageMaker accepts {' and '.join(limits)} {unit}".rstrip())


def _find_parameters(value: Any) -> set[str]:
    """Return the names of the pipeline's parameters that a part of its definition refers to."""
    if isinstance(value, dict):
        reference = value.get("Get") if len(value) == 1 else None
        if isinstance(reference, str) and reference.startswith(PARAMETER_PREFIX):
            return {reference.removeprefix(PARAMETER_PREFIX)}
        value = list(value.values())
    return set().union(*map(_find_parameters, value)) if isinstance(value, list) else set()


def _is_computed(value: Any) -> bool:
    """Return whether a value of a definition is computed by the pipeline, such as {"Get": "Parameters.data"}."""
    if not isinstance(value, dict) or len(value) != 1:
        return False
    key = str(next(iter(value)))
    return key == "Get" or key.startswith("Std:")


def _has_type(type_name: str, value: Any) -> bool:
    types: dict[str, tuple[type, ...]] = {
        "structure": (dict,),
        "map": (dict,),
        "list": (list, tuple),
        "string": (str,),
        "integer": (int,),
        "long": (int,),
        "boolean": (bool,),
        "float": (int, float),
        "double": (int, float),
    }
    is_flag_as_number = isinstance(value, bool) and type_name != "boolean"
    return isinstance(value, types.get(type_name, (object,))) and not is_flag_as_number


def _show(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= MAX_SHOWN_LENGTH else f"{text[:MAX_SHOWN_LENGTH]}..."


def _limit(place: str, message: str) -> Problem:
    return step_errors.exceeds_service_limit(place, message)
