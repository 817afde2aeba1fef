"""Checks of a plugin's settings class."""

from __future__ import annotations

from pydantic import ValidationError

from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.subject import Subject

UNKNOWN = "no_setting_has_this_name"


def check_default_settings(subject: Subject) -> None:
    """The settings can be made without any value: each has a default, and the defaults fit together."""
    kind = subject.plugin.settings_class
    try:
        kind()
    except ValidationError as refused:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'together'}: {e['msg']}" for e in refused.errors())
        raise ConformanceError(f"{kind.__name__}() is refused ({problems}): give every setting a default") from refused


def check_unknown_settings_are_rejected(subject: Subject) -> None:
    """A setting that the class does not have is an error: a misspelled one must not pass."""
    kind, small = subject.plugin.settings_class, subject.plugin.settings_class.small()
    values = {name: getattr(small, name) for name in kind.model_fields}
    try:
        kind.model_validate({**values, UNKNOWN: 1})
    except ValidationError as refused:
        if any(error["loc"][:1] == (UNKNOWN,) for error in refused.errors()):
            return
    raise ConformanceError(f'{kind.__name__} takes any setting: leave `extra="forbid"` of ModelSettings as it is')


def check_settings_have_descriptions(subject: Subject) -> None:
    """Each setting has a description, which `fusionzoo show` prints."""
    kind = subject.plugin.settings_class
    bare = [name for name, setting in kind.model_fields.items() if not (setting.description or "").strip()]
    if bare:
        raise ConformanceError(
            f"{kind.__name__} has no description of {', '.join(bare)}: write Field(..., description=...)"
        )


def check_settings_json_round_trip(subject: Subject) -> None:
    """Settings written as JSON and read again are the same: the model's files hold them."""
    small = subject.plugin.settings_class.small()
    kind, text = type(small), small.model_dump_json()
    try:
        again = kind.model_validate_json(text)
    except ValidationError as refused:
        raise ConformanceError(f"{kind.__name__} does not read its own JSON, {text}: {refused}") from refused
    if changed := [name for name in kind.model_fields if getattr(again, name) != getattr(small, name)]:
        raise ConformanceError(
            f"{', '.join(changed)} of {kind.__name__} come back from JSON as something else: use types that JSON has, "
            "or declare them precisely (tuple[int, ...], not Any)"
        )
