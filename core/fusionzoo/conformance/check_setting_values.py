"""The check of a model with other values of its settings than those of the other checks."""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from fusionzoo.conformance.forward import TOLERANCE, build_trained_briefly, compare_alone_and_in_batch
from fusionzoo.conformance.results import ConformanceError, describe_cause
from fusionzoo.conformance.subject import Subject
from fusionzoo.conformance.synthetic_rows import make_rows
from fusionzoo.errors import HyperparametersError, SettingError

ROWS = 12
NUMBERS = {int: (0, -1), float: (0.0, -1.0, 0.5, 1.5)}


def check_setting_values(subject: Subject) -> None:
    """With each choice of a setting, and each number that it accepts, the model trains, and scores each row alone.

    Choices are Literal, bool and enum. The numbers are 0 and -1, and 0.5 and 1.5 as a float, also in a list. A setting
    is changed alone; a value that the settings class or `resolve` rejects is not used.
    """
    if _find_error(subject) is not None:  # which the other checks report
        return
    settings_class = subject.plugin.settings_class
    current = subject.encoder_settings if subject.is_encoder else subject.settings
    for name, field in settings_class.model_fields.items():
        for value in [] if name == "text_encoder" else _list_values(field.annotation):
            if value == getattr(current, name):
                continue  # with which the other checks run
            cause = _find_error(subject, {name: value})
            if cause is not None:
                raise ConformanceError(
                    f"the model fails with {name}={value!r}, which {settings_class.__name__} accepts. Fix: correct the "
                    "model for this value, or let the settings reject it, by bounds such as Field(16, ge=1, ...) and "
                    "Field(0.1, ge=0, lt=1, ...) or by a SettingError in resolve\n  "
                    f"{describe_cause(cause, subject.module)}"
                ) from cause


def _list_values(annotation: Any) -> list[Any]:
    """Return values to try of a type; none if it has neither choices nor numbers."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _list_values(arguments[0])
    if origin is Literal:
        return list(arguments)
    if origin in (Union, UnionType):
        return [value for argument in arguments for value in _list_values(argument)]
    if isinstance(origin, type) and issubclass(origin, Collection) and len(arguments) in (1, 2):
        items = _list_values(arguments[0])
        return [[], *([value] for value in items)] if items else []
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [member.value for member in annotation]
    return [False, True] if annotation is bool else list(NUMBERS.get(annotation, ()))


def _find_error(subject: Subject, changes: dict[str, Any] | None = None) -> Exception | None:
    """Return the exception with which the model fails; None if it works, or the settings reject the changes."""
    try:
        changed = subject.with_settings(changes or {})
        model = build_trained_briefly(changed)
        difference = compare_alone_and_in_batch(model, changed.spec, make_rows(changed.spec, ROWS, seed=2))
    except (HyperparametersError, SettingError):
        return None
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        return error
    if not difference:
        return None
    return ConformanceError(
        f"a row's logits alone and in a batch of {ROWS} differ by {difference:.2g} (tolerance {TOLERANCE:.0e}). Fix: "
        "mask padding by batch.token_mask, and switch dropout and noise off unless self.training"
    )
