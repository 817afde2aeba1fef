"""The JSON schema of each setting of a class, without references to definitions elsewhere in the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def list_property_schemas(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of each property of an object, with references replaced by the definitions that they name."""
    definitions = schema.get("$defs", {})
    return {name: _inline_references(value, definitions) for name, value in schema.get("properties", {}).items()}


def _inline_references(schema: Any, definitions: Mapping[str, Any], parents: frozenset[str] = frozenset()) -> Any:
    """Replace each reference by its definition, except a reference to a definition that contains it."""
    if isinstance(schema, list):
        return [_inline_references(item, definitions, parents) for item in schema]
    if not isinstance(schema, dict):
        return schema
    target = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if target in definitions and target not in parents:
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        return {**_inline_references(definitions[target], definitions, parents | {target}), **siblings}
    return {key: _inline_references(value, definitions, parents) for key, value in schema.items()}
