"""The example of a list is a value that its setting allows, and a described character is recognized."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from fusionzoo import errors
from fusionzoo.hyperparameters.decoding import find_escaped_character
from fusionzoo.hyperparameters.schema_text import describe_allowed_values, make_example, takes_character
from fusionzoo.registry import Registry
from fusionzoo.registry.description import Description
from fusionzoo.settings import FusionSettings, JobSettings, ModelSettings, TextSettings
from parsing_helpers import parse_error

LISTED = re.compile(r"like (\[.*?\])(?: or |$)")


def find_settings_classes() -> Iterator[type[BaseModel]]:
    yield from (JobSettings, FusionSettings, ModelSettings, TextSettings)
    for group in ("fusionzoo.models", "fusionzoo.text_encoders"):
        registry = Registry.discover(group)
        yield from (registry.load(name).settings_class for name in registry)


def find_list_settings() -> list[Any]:
    found = {}
    for settings_class in find_settings_classes():
        for name, schema in settings_class.model_json_schema().get("properties", {}).items():
            if match := LISTED.search(describe_allowed_values(schema)):
                annotation = settings_class.model_fields[name].rebuild_annotation()
                found[f"{name} {match[1]}"] = pytest.param(annotation, match[1], id=name)
    return list(found.values())


LIST_SETTINGS = find_list_settings()


@pytest.mark.parametrize(("annotation", "example"), LIST_SETTINGS)
def test_the_example_of_every_list_setting_is_allowed(annotation: Any, example: str) -> None:
    assert list(TypeAdapter(annotation).validate_json(example, strict=True)) == json.loads(example)


def test_list_settings_are_found() -> None:
    assert {"quantiles", "decision_threshold", "cost_matrix", "kernel_size"} <= {item.id for item in LIST_SETTINGS}


@pytest.mark.parametrize(
    ("items", "limits"),
    [
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, {}),
        ({"type": "number", "minimum": 0, "maximum": 1}, {"minItems": 5}),
        ({"type": "number", "exclusiveMaximum": 0}, {}),
        ({"type": "number", "minimum": -3.5, "maximum": -3}, {}),
        ({"type": "number"}, {"maxItems": 1}),
        ({"type": "integer", "minimum": 10}, {}),
        ({"type": "integer", "exclusiveMinimum": 10}, {"minItems": 3}),
        ({"type": "integer", "maximum": 0}, {}),
        ({"type": "integer", "minimum": 3, "maximum": 3}, {}),
        ({"type": "integer", "exclusiveMinimum": 2, "exclusiveMaximum": 4}, {}),
    ],
)
def test_an_example_respects_bounds_and_lengths(items: dict[str, Any], limits: dict[str, int]) -> None:
    example = make_example({"items": items, **limits})
    assert limits.get("minItems", 0) <= len(example) <= limits.get("maxItems", 10)
    for number in example:
        assert isinstance(number, int if items["type"] == "integer" else float)
        assert items.get("minimum", number) <= number <= items.get("maximum", number)
        assert items.get("exclusiveMinimum", number - 1) < number < items.get("exclusiveMaximum", number + 1)


def test_nested_and_short_examples_respect_their_bounds() -> None:
    costs = {"items": {"type": "array", "items": {"type": "number", "minimum": 0}}}
    assert make_example(costs) == [[0.0, 1.0], [5.0, 0.0]]
    shares = {"items": {"type": "array", "items": {"type": "number", "maximum": 1, "minimum": 0}}}
    assert all(0 <= number <= 1 for row in make_example(shares) for number in row)
    assert all(len(word) == 1 for word in make_example({"items": {"type": "string", "maxLength": 1}}))


# --- objects


class Gate(BaseModel, extra="forbid"):
    kind: Literal["sum", "max"]
    rate: float = Field(0.5, gt=0, lt=1)


class Table(BaseModel, extra="forbid"):
    gate: Gate
    name: str = "a"
    widths: list[int]
    on: bool


@pytest.mark.parametrize(
    "annotation", [Gate, Table, list[Gate], dict[str, Gate], dict[str, list[int]], dict[str, bool]]
)
def test_the_example_of_an_object_is_allowed(annotation: Any) -> None:
    schema = TypeAdapter(annotation).json_schema()
    settings = {"properties": {"setting": schema}, "$defs": schema.get("$defs", {})}
    inlined = Description("", "", "", "", None, (), (), settings).properties["setting"]
    description = describe_allowed_values(inlined)
    example = description.partition(", like ")[2]
    assert TypeAdapter(annotation).validate_json(example, strict=True)


def test_an_object_of_any_keys_has_an_example() -> None:
    assert describe_allowed_values({"type": "object"}) == 'an object, like {"name": 1}'


# --- one character


@pytest.mark.parametrize("setting", ["csv_delimiter", "csv_quote", "csv_escape"])
@pytest.mark.parametrize(
    ("text", "character"),
    [("\\t", "\t"), ("TAB", "\t"), ("\\x01", "\x01"), ("\\u0001", "\x01"), ("semicolon", ";")],
)
def test_a_described_character_is_recognized(setting: str, text: str, character: str) -> None:
    message, _, fix = parse_error(**{setting: text}).partition("Fix: ")
    assert "[FZ-S185]" in fix
    assert f"in JSON {json.dumps(character)}" in fix
    assert ("$'" in fix) == (not character.isprintable())
    assert ("a tab" in message) == (character == "\t")


@pytest.mark.parametrize("text", ["||", "\\", "t", "\\q", "tabs", "", "\\xzz", None, 3])
def test_other_texts_describe_no_character(text: object) -> None:
    assert find_escaped_character(text) is None


def test_only_settings_of_one_character_are_concerned() -> None:
    properties = JobSettings.model_json_schema()["properties"]
    assert {name for name, schema in properties.items() if takes_character(schema)} == {
        "csv_delimiter",
        "csv_quote",
        "csv_escape",
    }
    problem = errors.escaped_character("csv_delimiter", "\\t", "\t")
    assert "instead of one" in problem.message
