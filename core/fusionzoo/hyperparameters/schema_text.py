"""Describe in plain words the values that a JSON schema allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
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
    "integer": "integers",
    "number": "numbers",
    "boolean": "true and false",
    "string": "strings",
    "array": "lists of numbers",
    "object": "objects",
}
EXAMPLE_KEY = "name"  # of an object that may have any keys
COSTS_EXAMPLE = [[0.0, 1.0], [5.0, 0.0]]  # of a list of lists, such as cost_matrix
EXAMPLE_LENGTH = 2
MAX_WORD_LENGTH = 9


def describe_allowed_values(schema: Schema) -> str:
    """Return the allowed values in plain words, such as "a number above 0 or null"."""
    parts = [_describe_alternative(part) for part in _list_alternatives(schema)]
    return " or ".join(dict.fromkeys(parts))


def list_nested_keys(path: str, schema: Schema) -> Iterator[tuple[str, Schema, bool]]:
    """Yield the path, the schema and whether it is required of each key of the objects in a setting.

    The path of a key of the first item of a list is like gates.0.rate.
    """
    for part in _list_alternatives(schema):
        for key, value in part.get("properties", {}).items():
            yield f"{path}.{key}", value, key in part.get("required", ())
            yield from list_nested_keys(f"{path}.{key}", value)
        if isinstance(part.get("items"), Mapping):
            yield from list_nested_keys(f"{path}.0", part["items"])
        for position, item in enumerate(part.get("prefixItems", ())):
            yield from list_nested_keys(f"{path}.{position}", item)
        if isinstance(part.get("additionalProperties"), Mapping):
            yield from list_nested_keys(f"{path}.{EXAMPLE_KEY}", part["additionalProperties"])


def _list_alternatives(schema: Schema) -> Sequence[Schema]:
    alternatives: Sequence[Schema] = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return alternatives


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


def takes_character(schema: Schema) -> bool:
    """Return whether a schema allows a string of one character at most."""
    strings = [part for part in schema.get("anyOf", [schema]) if part.get("type") == "string"]
    return bool(strings) and all(part.get("maxLength") == 1 for part in strings)


def _describe_alternative(part: Schema) -> str:
    if choices := allowed_constants(part):
        return format_json(choices[0]) if len(choices) == 1 else "one of " + ", ".join(map(format_json, choices))
    if part.get("type") == "array":
        return _describe_list(part)
    if part.get("type") == "string" and "pattern" in part:
        return f"a string that matches {part['pattern']}"
    if part.get("type") == "string":
        return _describe_string(part)
    if part.get("type") == "object" and (part.get("properties") or _get_values(part)):
        kind = f" of {_describe_items(_get_values(part))}" if _get_values(part) else _describe_keys(part)
        return f"an object{kind}, like {format_json(_make_object(part))}"
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
    return f"{kind} of {_describe_items(items)}, like {format_json(make_example(part))}"


def _describe_items(items: Schema) -> str:
    plural = ITEM_NAMES.get(items.get("type", ""), "values")
    return f"{plural}{_describe_bounds(items)}{_describe_keys(items)}"


def _describe_keys(part: Schema) -> str:
    keys = part.get("properties", {})
    return f" with the {'key' if len(keys) == 1 else 'keys'} {', '.join(keys)}" if keys else ""


def _get_values(part: Schema) -> Schema:
    """Return the schema of the values of an object that may have any keys; empty for other objects."""
    values = part.get("additionalProperties")
    return values if isinstance(values, Mapping) and "properties" not in part else {}


def _describe_bounds(part: Schema) -> str:
    if "minimum" in part and "maximum" in part:
        return f" from {part['minimum']} to {part['maximum']}"
    bounds = [f"{word} {part[name]}" for name, word in BOUND_NAMES.items() if name in part]
    return f" {' and '.join(bounds)}" if bounds else ""


def make_example(part: Schema) -> list[Any]:
    """Return a list that the schema of a list allows, with a length and values within its bounds."""
    items = part.get("items", {})
    count = max(EXAMPLE_LENGTH, part.get("minItems", 0))
    count = min(count, part.get("maxItems", count))
    kind = items.get("type")
    if kind in ("integer", "number"):
        return _make_numbers(items, count, is_integer=kind == "integer")
    if kind == "boolean":
        return [number % 2 == 0 for number in range(count)]
    if kind == "object":
        return [_make_object(items)] * max(1, part.get("minItems", 1))
    if kind == "array" and all(_is_within(items.get("items", {}), number) for row in COSTS_EXAMPLE for number in row):
        return COSTS_EXAMPLE
    if kind == "array":
        return [make_example(items)] * count
    if kind == "string" and items.get("maxLength", MAX_WORD_LENGTH) >= MAX_WORD_LENGTH:
        return [f"feature{number + 1}" for number in range(count)]
    return [chr(ord("a") + number % 26) for number in range(count)]


def _make_object(part: Schema) -> dict[str, Any]:
    """Return an object that its schema allows, with the required keys, or the first key if none is required."""
    if values := _get_values(part):
        return {EXAMPLE_KEY: _make_value(values)}
    keys = part.get("properties", {})
    return {key: _make_value(keys[key]) for key in part.get("required") or list(keys)[:1]} or {EXAMPLE_KEY: 1}


def _make_value(schema: Schema) -> Any:
    if "default" in schema:
        return schema["default"]
    part = _list_alternatives(schema)[0]
    if choices := allowed_constants(part):
        return choices[0]
    return make_example(part) if part.get("type") == "array" else make_example({"items": part})[0]


def _make_numbers(items: Schema, count: int, *, is_integer: bool) -> list[Any]:
    """Return numbers within the bounds: 1, 2, ... if they allow these."""
    step = 1 if is_integer else 1.0
    numbers = [step * number for number in range(1, count + 1)]
    if all(_is_within(items, number) for number in numbers):
        return numbers
    low, high = items.get("minimum"), items.get("maximum")
    margin = 1 if is_integer else 0
    if low is None and "exclusiveMinimum" in items:
        low = items["exclusiveMinimum"] + margin
    if high is None and "exclusiveMaximum" in items:
        high = items["exclusiveMaximum"] - margin
    if low is not None and high is not None:
        parts = [low + (high - low) * (2 * number + 1) / (2 * count) for number in range(count)]
        return [round(part) if is_integer else round(part, 6) for part in parts]
    start = low or 0 if high is None else high - step * (count + 1)
    return [start + number for number in numbers]


def _is_within(items: Schema, number: float) -> bool:
    is_above = number >= items.get("minimum", number) and number > items.get("exclusiveMinimum", number - 1)
    is_below = number <= items.get("maximum", number) and number < items.get("exclusiveMaximum", number + 1)
    return bool(is_above and is_below)
