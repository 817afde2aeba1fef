"""Hyperparameters as SageMaker carries them: a flat map from text to JSON text, limited in size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fusionzoo.errors import Problem, step_errors

MAX_HYPERPARAMETERS, MAX_NAME_LENGTH, MAX_VALUE_LENGTH = 100, 256, 2500
"""The limits of `HyperParameters` in botocore's service model; lengths in characters."""
MAX_SDK_HYPERPARAMETERS = 6
"""How many the SDK adds if it uploads the source code: sagemaker_program, sagemaker_submit_directory, and others."""
RESERVED_PREFIX = "sagemaker_"


def encode_hyperparameters(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return each value as JSON text, as the SDK of version 2 does. train.py reads this and plain JSON alike.

    A value that the pipeline computes, such as a parameter, is converted to text when the pipeline runs.
    """
    return {
        name: value.to_string() if _is_computed(value) else _encode(value) for name, value in hyperparameters.items()
    }


def check_hyperparameters(hyperparameters: Mapping[str, Any], reserved: int) -> Iterator[Problem]:
    """Yield the problems of hyperparameters that SageMaker would refuse or change.

    Args:
        hyperparameters: each value by its name.
        reserved: how many the SDK adds.
    """
    if len(hyperparameters) + reserved > MAX_HYPERPARAMETERS:
        yield step_errors.too_many_hyperparameters(len(hyperparameters), MAX_HYPERPARAMETERS - reserved)
    for name, value in hyperparameters.items():
        if not 0 < len(name) <= MAX_NAME_LENGTH or name.startswith(RESERVED_PREFIX):
            yield step_errors.invalid_hyperparameter_name(name, MAX_NAME_LENGTH)
        if _is_computed(value):
            continue
        try:
            length = len(_encode(value))
        except (TypeError, ValueError, RecursionError) as cause:
            yield step_errors.unencodable_hyperparameter(name, cause)
            continue
        if length > MAX_VALUE_LENGTH:
            yield step_errors.hyperparameter_too_long(name, length, MAX_VALUE_LENGTH)


def _is_computed(value: object) -> bool:
    """Return whether a value is a PipelineVariable of the SDK, which is not imported here."""
    return hasattr(value, "expr") and hasattr(value, "to_string")


def _encode(value: object) -> str:
    return json.dumps(value, allow_nan=False)
