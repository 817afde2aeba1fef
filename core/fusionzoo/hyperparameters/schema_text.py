"""Describe in plain words the values that a JSON schema allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fusionzoo.errors import format_json
from fusionzoo.errors.wording import pluralize

Schema = Mapping[str, Any]
TYPE_NAMES = {
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
    "string": "a string",
    "object": 'an object, like {"name": 1}',
}
BOUND_NAMES = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "of at most",
    "exclusiveMaximum": "below",
}
ITEM_NAMES = {
    "integer": ("integers", [1, 2]),
    "number": ("numbers", [1.0, 2.0]),
    "boolean": ("true and false", [True, False]),
    "string": ("strings", ["feature1", "feature2"]),
    "array": ("lists of numbers", [[0.0, 1.0], [5.0, 0.0]]),
}


def describe_allowed_values(schema: Schema) -> str:
    """Return the allowed values in plain words, such as "a number above 0 or null"."""
    parts = [_describe_alternative(part) for part in schema.get("anyOf", [schema])]
    return " or ".join(dict.fromkeys(parts))


def allowed_constants(schema: Schema) -> Sequence[Any]:
    """Return the only values that one alternative of a schema allows; empty where it lists none."""
    return [schema["const"]] if "const" in schema else schema.get("enum", [])


def allowed_strings(schema: Schema) -> list[Any]:
    """Return the strings that a schema lists in any of its alternatives."""
    alternatives = schema.get("anyOf", [schema])
    return [word for part in alternatives if part.get("type") == "string" for word in allowed_constants(part)]


def is_list_of_strings(schema: Schema) -> bool:
    """Return whether a schema allows a list of strings."""
    lists = (part for part in schema.get("anyOf", [schema]) if part.get("type") == "array")
    return any(part.get("items", {}).get("type") == "string" for part in lists)


def _describe_alternative(part: Schema) -> str:
    if choices := allowed_constants(part):
        return format_json(choices[0]) if len(choices) == 1 else "one of " + ", ".join(map(format_json, choices))
    if part.get("type") == "array":
        return _describe_list(part)
    if part.get("type") == "string" and "pattern" in part:
        return f"a string that matches {part['pattern']}"
    if part.get("type") == "string":
        return _describe_string(part)
    return TYPE_NAMES.get(part.get("type", ""), "another value") + _describe_bounds(part)


def _describe_string(part: Schema) -> str:
    is_required, limit = bool(part.get("minLength")), part.get("maxLength")
    if limit == 1:
        return "one character" if is_required else 'one character, ""'
    text = "a non-empty string" if is_required else "a string"
    return text if limit is None else f"{text} of at most {pluralize(limit, 'character')}"


def _describe_list(part: Schema) -> str:
    items = part.get("items", {})
    kind = "a non-empty list" if part.get("minItems") else "a list"
    if choices := allowed_constants(items):
        return f"{kind} of any of {', '.join(map(format_json, choices))}"
    plural, example = ITEM_NAMES.get(items.get("type", ""), ("values", ["a", "b"]))
    return f"{kind} of {plural}{_describe_bounds(items)}, like {format_json(example)}"


def _describe_bounds(part: Schema) -> str:
    if "minimum" in part and "maximum" in part:
        return f" from {part['minimum']} to {part['maximum']}"
    bounds = [f"{word} {part[name]}" for name, word in BOUND_NAMES.items() if name in part]
    return f" {' and '.join(bounds)}" if bounds else ""
