"""The check that settings have bounds: a model works with each number that its settings class accepts."""

from __future__ import annotations

from collections.abc import Collection
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from fusionzoo.conformance.check_sizes import find_size_error
from fusionzoo.conformance.results import ConformanceError, describe_exception
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import SMALL_SIZES
from fusionzoo.errors import HyperparametersError, SettingError

NUMBERS = {int: (0, -1), float: (0.0, -1.0, 1.5)}


def check_setting_bounds(subject: Subject) -> None:
    """The model works with each number that the settings class accepts: 0, a negative one, and 1.5 if it is a float.

    In a list of numbers too, and with an empty list.
    """
    if find_size_error(subject, SMALL_SIZES) is not None:  # which the other checks report
        return
    for name, field in subject.plugin.settings_class.model_fields.items():
        for value in _list_values(field.annotation):
            cause = _find_error(subject, name, value)
            if cause is not None:
                settings_class = subject.plugin.settings_class.__name__
                raise ConformanceError(
                    f"{settings_class} accepts {name}={value!r}, with which the model fails, so that a user gets an "
                    "exception of the model. Fix: give the setting bounds, such as Field(16, ge=1, ...) or "
                    "Field(0.1, ge=0, lt=1, ...), or raise a SettingError in resolve"
                    f"\n  {_describe(cause, subject)}"
                ) from cause


def _list_values(annotation: Any) -> list[Any]:
    """Return values to try of a type; none if it has no numbers."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _list_values(arguments[0])
    if origin in (Union, UnionType):
        return [value for argument in arguments for value in _list_values(argument)]
    if isinstance(origin, type) and issubclass(origin, Collection) and len(arguments) in (1, 2):
        items = _list_values(arguments[0])
        return [[], *([value] for value in items)] if items else []
    return list(NUMBERS.get(annotation, ()))


def _find_error(subject: Subject, name: str, value: Any) -> Exception | None:
    """Return the exception with which a model with this value fails; None if it works, or the value is rejected."""
    try:
        other = subject.with_setting(name, value)
    except HyperparametersError:
        return None
    except Exception as error:  # noqa: BLE001 - a plugin's validator may raise anything
        return error
    cause = find_size_error(other, SMALL_SIZES)
    return None if isinstance(cause, SettingError) else cause


def _describe(error: Exception, subject: Subject) -> str:
    return str(error) if isinstance(error, ConformanceError) else describe_exception(error, subject.module)
