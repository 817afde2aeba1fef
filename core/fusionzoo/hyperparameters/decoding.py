"""Decode the two encodings in which SageMaker passes hyperparameters.

Version 2 of its Python SDK encodes each value as JSON; version 3 leaves texts as they are and encodes other values.
The JSON schema of a setting decides which of the two a text is.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from fusionzoo.sagemaker.config_files import unquote

MAX_INTEGER = 10**1000  # Python refuses to convert much larger integers to text
NONFINITE_WORD = re.compile(r"(?i)(?<![\w'\"])(nan|inf(inity)?)(?![\w'\"])")
ESCAPED_CHARACTER = re.compile(r"""\\(?:[abfnrtv0'"\\]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4})""")
CHARACTER_NAMES = {"tab": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
Schema = Mapping[str, Any]


def decode_value(value: Any, schema: Schema) -> Any:
    """Return a hyperparameter decoded according to the JSON schema of its setting; None for null.

    A setting that accepts any text takes the content of a JSON text, or the text itself. Any other setting takes JSON,
    then Python literals, and true or false in any case. A value that cannot be decoded is returned unchanged, so that
    validation reports it.
    """
    types = json_types(schema)
    if "string" in types and types <= {"string", "array", "null"} and not takes_list_or_choice(schema):
        return _decode_text(unquote(value), schema, types)
    return _normalize(parse_literal(value), schema)


def json_types(schema: Schema) -> set[str]:
    """Return the JSON types that a schema accepts; empty if it accepts all."""
    return {part["type"] for part in schema_alternatives(schema) if "type" in part}


def takes_list_or_choice(schema: Schema) -> bool:
    """Return whether a schema accepts a list, or one of a few named texts, and no other text."""
    texts = [part for part in schema_alternatives(schema) if part.get("type") == "string"]
    return "array" in json_types(schema) and bool(texts) and all({"const", "enum"} & part.keys() for part in texts)


def schema_alternatives(schema: Schema) -> list[Schema]:
    """Return the alternatives of a schema (`anyOf`, flattened), or the schema itself."""
    if "anyOf" not in schema:
        return [schema]
    return [alternative for part in schema["anyOf"] for alternative in schema_alternatives(part)]


def find_escaped_character(value: Any) -> str | None:
    """Return the character that a longer text describes, such as a backslash and a t a tab; None if there is none."""
    if not isinstance(value, str):
        return None
    if value.lower() in CHARACTER_NAMES:
        return CHARACTER_NAMES[value.lower()]
    return str(ast.literal_eval(f"'{value}'")) if ESCAPED_CHARACTER.fullmatch(value) else None


def parse_literal(value: Any) -> Any:
    """Return the value of a text that is JSON or a Python literal; any other text or value unchanged."""
    while isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return _parse_python_literal(value)
    return value


def is_finite(value: Any) -> bool:
    """Return whether a value contains neither NaN nor Infinity."""
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    except RecursionError:
        return True  # `is_valid_json` rejects it
    return True


def is_valid_json(value: Any) -> bool:
    """Return whether every JSON reader accepts the value: no lone surrogates, no extreme nesting."""
    try:
        from_json(json.dumps(value))
    except (ValueError, RecursionError):
        return False
    return True


def _parse_python_literal(text: str) -> Any:
    stripped = text.strip()
    if stripped.lower() in ("true", "false"):
        return stripped.lower() == "true"
    if NONFINITE_WORD.fullmatch(stripped.removeprefix("-")):
        return float(stripped)
    for candidate in (stripped, NONFINITE_WORD.sub("1e999", stripped)):
        try:
            value = ast.literal_eval(candidate)
            if isinstance(value, str) or (isinstance(value, tuple) and not stripped.startswith("(")):
                continue
            return json.loads(json.dumps(value))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
    return text


def _decode_text(value: Any, schema: Schema, types: set[str]) -> Any:
    if "array" in types and isinstance(value, str) and value.lstrip().startswith("["):
        literal = parse_literal(value)
        value = literal if isinstance(literal, list) else value
    value = _normalize(value, schema)
    return None if value in ("null", "None") and value not in _choices(schema) else value


def _normalize(value: Any, schema: Schema) -> Any:
    """Return the value as its schema writes it: choices in their own case, whole floats as integers, also in lists."""
    types = json_types(schema)
    if isinstance(value, list) and "array" in types:
        items = next(part.get("items", {}) for part in schema_alternatives(schema) if part.get("type") == "array")
        return [_normalize(item, items) for item in value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        value = _normalize_number(value, types)
    return _match_choice(value, schema) if isinstance(value, str) and "string" in types else value


def _normalize_number(value: int | float, types: set[str]) -> int | float | str:
    if isinstance(value, float):
        return int(value) if "integer" in types and "number" not in types and value.is_integer() else value
    if "integer" in types:
        return value
    if "number" in types:
        return float(value) if abs(value) < sys.float_info.max else math.inf
    return str(value) if "string" in types and abs(value) < MAX_INTEGER else value


def _match_choice(text: str, schema: Schema) -> str:
    """Return the choice that equals the text if case is ignored; the text itself if there is none."""
    choices = _choices(schema)
    matches = [choice for choice in choices if choice.lower() == text.strip().lower()]
    return text if text in choices or not matches else matches[0]


def _choices(schema: Schema) -> list[str]:
    values = [value for part in schema_alternatives(schema) for value in [part.get("const"), *part.get("enum", [])]]
    return [value for value in values if isinstance(value, str)]
