"""Decode and validate the values that a file gives for one settings class."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, PydanticUndefined
from pydantic_core.core_schema import ErrorType

from fusionzoo import errors
from fusionzoo.hyperparameters.decoding import (
    decode_value,
    find_escaped_character,
    is_finite,
    is_valid_json,
    json_types,
    takes_list_or_choice,
)
from fusionzoo.hyperparameters.schema_references import list_property_schemas
from fusionzoo.hyperparameters.schema_text import (
    allowed_strings,
    describe_allowed_values,
    is_list_of_strings,
    takes_character,
)

LIGHTNING_PRECISIONS = {"bf16-mixed": "bf16", "16-mixed": "fp16", "16": "fp16", "32-true": "32"}

PYDANTIC_ERROR_TYPES = get_args(ErrorType)
"""The types of all errors, except those that the validators of a settings class define."""

SettingsT = TypeVar("SettingsT", bound=BaseModel)


class SettingsDraft(Generic[SettingsT]):
    """The values that a file gives for one settings class, and the problems in them.

    `owner` is the plugin's name, or `core`.
    """

    def __init__(self, owner: str, settings_class: type[SettingsT]) -> None:
        self.owner, self.settings_class = owner, settings_class
        self._settings: SettingsT | None = None
        self._schemas: Mapping[str, Any] = list_property_schemas(settings_class.model_json_schema())
        self._values: dict[str, Any] = {}
        self._problems: dict[str, list[errors.Problem]] = {}

    @property
    def settings(self) -> SettingsT:
        """The validated settings.

        Raises:
            ValueError: the values have problems.
        """
        if self._settings is None:
            raise ValueError(f"the settings of {self.owner} have problems")
        return self._settings

    @property
    def problems(self) -> list[errors.Problem]:
        """The problems of all settings."""
        return [problem for problems in self._problems.values() for problem in problems]

    def problems_of(self, name: str) -> list[errors.Problem]:
        """Return the problems of one setting."""
        return list(self._problems.get(name, ()))

    def is_valid(self, *names: str) -> bool:
        """Return whether none of these settings has a problem."""
        return not self._problems.keys() & names

    def get(self, name: str) -> Any:
        """Return a setting's value, or its default if the file does not give it; None if it has a problem."""
        if not self.is_valid(name):
            return None
        return self._values.get(name, self.default(name))

    def default(self, name: str) -> Any:
        """Return a setting's default; None if it is required."""
        default = self.settings_class.model_fields[name].get_default(call_default_factory=True)
        return None if default is PydanticUndefined else default

    def decode(self, raw: Mapping[str, Any], name: str) -> Any:
        """Return the decoded value of one setting; None if the file does not give it."""
        if name not in raw:
            return None
        value = decode_value(raw[name], self._schema(name))
        is_precision = name == "precision" and isinstance(value, str)
        return LIGHTNING_PRECISIONS.get(value.lower(), value) if is_precision else value

    def fill(self, raw: Mapping[str, Any]) -> None:
        """Decode and validate the values of this class. Afterwards either `problems` or `settings` is available."""
        for name in self.settings_class.model_fields:
            value = self.decode(raw, name)
            if value is None and (name not in raw or "null" not in json_types(self._schema(name))):
                continue  # a setting that does not accept null is "not given"
            if problem := self._find_decoding_problem(name, value):
                self._problems[name] = [problem]
            else:
                self._values[name] = value
        not_decoded = set(self._problems)
        try:
            self._settings = self.settings_class.model_validate_json(json.dumps(self._values), strict=True)
        except ValidationError as rejection:
            for error in _prefer_item_errors(rejection.errors(include_url=False)):
                name = str(error["loc"][0]) if error["loc"] else ""
                if name not in not_decoded:
                    self._problems.setdefault(name, []).append(self._describe_error(name, error))

    def _schema(self, name: str) -> Mapping[str, Any]:
        schema: Mapping[str, Any] = self._schemas.get(name, {})
        return schema

    def _find_decoding_problem(self, name: str, value: Any) -> errors.Problem | None:
        schema = self._schema(name)
        types = json_types(schema)
        if not is_finite(value):
            return errors.nonfinite_setting(name, value)
        if not is_valid_json(value):
            return errors.unencodable_setting(name, value)
        if isinstance(value, dict) and types and "object" not in types:
            return errors.nested_setting(name, value)
        if types - {"null"} == {"array"} and value is not None and not isinstance(value, list):
            return errors.setting_not_a_list(name, value, describe_allowed_values(schema), is_list_of_strings(schema))
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        is_other = (isinstance(value, dict) and "object" in types) or (is_number and "number" in types)
        if takes_list_or_choice(schema) and not is_other and not isinstance(value, (list, type(None))):
            return (
                None
                if value in allowed_strings(schema)
                else errors.setting_not_a_list(name, value, describe_allowed_values(schema), is_list_of_strings(schema))
            )
        return None

    def _describe_error(self, name: str, error: ErrorDetails) -> errors.Problem:
        schema, value = self._schema(name), self._values.get(name)
        indices = [place for place in error["loc"][1:] if isinstance(place, int)]
        message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if not name:
            return errors.inconsistent_settings(self.owner, message)
        if error["type"] in ("value_error", "assertion_error") or error["type"] not in PYDANTIC_ERROR_TYPES:
            return errors.inconsistent_settings(self.owner, message, (name, value))
        if error["type"] == "missing" and name not in self._values:
            return errors.missing_setting(name, describe_allowed_values(schema))
        if indices and isinstance(value, list):
            return errors.invalid_setting_item(name, value, indices[0], describe_allowed_values(schema))
        if takes_character(schema) and (character := find_escaped_character(value)):
            return errors.escaped_character(name, str(value), character)
        return errors.invalid_setting(name, value, describe_allowed_values(schema))


def _prefer_item_errors(problems: Sequence[ErrorDetails]) -> list[ErrorDetails]:
    """Drop the errors of a setting's other alternatives if one error names an item of its list."""
    lists = {error["loc"][0] for error in problems if _names_item(error)}
    return [error for error in problems if _names_item(error) or not error["loc"] or error["loc"][0] not in lists]


def _names_item(error: ErrorDetails) -> bool:
    return any(isinstance(place, int) for place in error["loc"][1:])
