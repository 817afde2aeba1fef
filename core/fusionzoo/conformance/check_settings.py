"""Checks of a plugin's settings class."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from fusionzoo.conformance.results import ConformanceError
from fusionzoo.conformance.small_settings import make_small_settings
from fusionzoo.conformance.subject import Subject
from fusionzoo.settings import ModelSettings

UNKNOWN_SETTING = "no_setting_has_this_name"


def check_default_settings(subject: Subject) -> None:
    """The settings class can be created without arguments: each setting has a default, and the defaults are valid."""
    settings_class = subject.plugin.settings_class
    try:
        settings_class.model_validate_json(settings_class().model_dump_json())  # pydantic does not validate defaults
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'all'}: {e['msg']}" for e in error.errors())
        raise ConformanceError(
            f"{settings_class.__name__}() is not valid ({problems}), so users cannot leave any setting out. "
            "Fix: give every setting a valid default"
        ) from error


def check_unknown_settings_are_rejected(subject: Subject) -> None:
    """A setting, or a key of a nested one, that no class has is an error, so that misspelled settings are found."""
    settings_class, small = subject.plugin.settings_class, make_small_settings(subject.plugin)
    values = {name: getattr(small, name) for name in settings_class.model_fields}
    try:
        settings_class.model_validate({**values, UNKNOWN_SETTING: 1})
    except ValidationError as error:
        if any(e["loc"][:1] == (UNKNOWN_SETTING,) for e in error.errors()):
            _check_nested_settings(settings_class)
            return
    raise ConformanceError(
        f"{settings_class.__name__} accepts unknown settings, so a misspelled setting has no effect and no error. "
        'Fix: keep extra="forbid" of ModelSettings'
    )


def _check_nested_settings(settings_class: type[ModelSettings]) -> None:
    """Check that no class of a nested setting accepts unknown keys, which it does by default."""
    for name, schema in settings_class.model_json_schema().get("$defs", {}).items():
        if "properties" in schema and schema.get("additionalProperties", True) is not False:
            raise ConformanceError(
                f"the class {name} of a setting accepts unknown keys, so a misspelled key has no effect and no error. "
                f'Fix: give {name} model_config = ConfigDict(extra="forbid")'
            )


def check_settings_have_descriptions(subject: Subject) -> None:
    """Each setting has a description, which `fusionzoo show` prints."""
    settings_class = subject.plugin.settings_class
    names = [name for name, field in settings_class.model_fields.items() if not (field.description or "").strip()]
    if names:
        raise ConformanceError(
            f"{settings_class.__name__} has no description of {', '.join(names)}, which `fusionzoo show` prints. "
            "Fix: write Field(..., description=...)"
        )


def check_settings_json_round_trip(subject: Subject) -> None:
    """Settings are the same after they are written as JSON and read again, as in the model folder.

    They have no private attributes, which are not written, and no sets, which each process writes in another order.
    """
    small = make_small_settings(subject.plugin)
    settings_class, text = type(small), small.model_dump_json()
    if private := list(settings_class.__private_attributes__):
        raise ConformanceError(
            f"{settings_class.__name__} has private attributes, which the model folder does not have: "
            f"{', '.join(private)}. Fix: make them fields or properties"
        )
    if sets := _list_sets(small):
        raise ConformanceError(
            f"{settings_class.__name__} has a set in {', '.join(sets)}. A set has no order, and each process writes it "
            "in another one, so a job of several processes, or one that resumes, sees other settings. "
            "Fix: declare a tuple, such as tuple[str, ...], or a list"
        )
    try:
        restored = settings_class.model_validate_json(text)
    except ValidationError as error:
        raise ConformanceError(
            f"{settings_class.__name__} cannot read its own JSON, {text}: {error}. The saved model could not be loaded"
        ) from error
    if changed := [name for name in settings_class.model_fields if getattr(restored, name) != getattr(small, name)]:
        raise ConformanceError(
            f"JSON changes the values of {', '.join(changed)} in {settings_class.__name__}, so the loaded model would "
            "differ from the trained one. Fix: use types that JSON has, or declare precise types (tuple[int, ...] "
            "instead of Any)"
        )


def _list_sets(settings: ModelSettings) -> list[str]:
    """Return the settings, also nested ones, that are written as sets, or would be with another value."""
    written = dict.fromkeys(_find_sets(settings.model_dump()))
    held = set(_find_sets(settings))  # a set that is held, but not written as one, has a serializer
    schema = type(settings).model_json_schema(mode="serialization")
    declared = [path for path in _find_declared_sets(schema, schema.get("$defs", {})) if path not in held]
    return list({**written, **dict.fromkeys(declared)})


def _find_sets(value: object, path: str = "") -> Iterator[str]:
    """Yield the path of each set in a value of settings, such as table.names."""
    if isinstance(value, set | frozenset):
        yield path
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _find_sets(getattr(value, name), f"{path}.{name}".lstrip("."))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _find_sets(item, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _find_sets(item, path)


def _find_declared_sets(
    schema: Any, definitions: Mapping[str, Any], path: str = "", parents: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the path of each part of a JSON schema that describes a set."""
    if not isinstance(schema, dict):
        return
    if schema.get("uniqueItems"):
        yield path
    target = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if target in definitions and target not in parents:
        yield from _find_declared_sets(definitions[target], definitions, path, (*parents, target))
    for name, part in schema.get("properties", {}).items():
        yield from _find_declared_sets(part, definitions, f"{path}.{name}".lstrip("."), parents)
    parts = [schema.get("items"), schema.get("additionalProperties"), *schema.get("prefixItems", ())]
    for part in [*parts, *schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())]:
        yield from _find_declared_sets(part, definitions, path, parents)
