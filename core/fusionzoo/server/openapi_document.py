"""The OpenAPI document of a server, from its paths, its limits and the columns of its model."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from fusionzoo.server.json_rows import IGNORED, WRAPPERS
from fusionzoo.server.media_types import SHOWN_INPUTS, SHOWN_OUTPUTS
from fusionzoo.server.routes import ROUTES, STATUSES, Route
from fusionzoo.server.scoring_service import ColumnExample, ScoringService

Json = dict[str, Any]
PLAIN_TYPES = ["string", "number", "boolean", "null"]
ERROR = {
    "type": "object",
    "required": ["error", "request_id"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message", "fix", "problems"],
            "properties": {
                "code": {"type": "string", "description": "A stable identifier, such as FZ-D106."},
                "message": {"type": "string", "description": "What is wrong."},
                "fix": {"type": "string", "description": "What the client can do about it."},
                "problems": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["row", "column", "message"],
                        "properties": {
                            "row": {"type": ["integer", "null"], "description": "From 1, without a header."},
                            "column": {"type": ["string", "null"]},
                            "message": {"type": "string"},
                            "fix": {"type": "string"},
                            "code": {"type": "string"},
                        },
                    },
                },
            },
        },
        "request_id": {"type": "string", "description": "The id of the request in the log of the server."},
    },
}
REQUEST_ID = {"description": "The id that the client gave, or a new one.", "schema": {"type": "string"}}
RETRY_AFTER = {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}


def describe_api(service: ScoringService) -> Json:
    """Return the OpenAPI 3.1 document of a server. `x-role` of a column is text, category, number or id."""
    paths = {route.path: {route.method.lower(): _describe_route(route, service)} for route in ROUTES}
    schemas = {"Row": _describe_row(service), "Record": _describe_record(service.record_schema()), "Error": ERROR}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"Model of {service.title}",
            "version": service.version or "unknown",
            "description": "Predictions of a model of fusionzoo. The version is that of the model.",
        },
        "paths": paths,
        "components": {"schemas": schemas},
    }


def make_example_row(service: ScoringService) -> Json:
    """Return a row with one value for each column of the model."""
    return {column.name: column.values[0] if column.values else None for column in service.column_examples()}


def _describe_route(route: Route, service: ScoringService) -> Json:
    content = {route.media_type: {"schema": _of_media_type(route)}} if route.media_type else {}
    headers = {"X-Request-Id": REQUEST_ID}
    described: Json = {"summary": route.summary, "operationId": route.endpoint, "responses": {}}
    if route.endpoint == "invoke":
        described["requestBody"] = {"required": True, "content": _describe_rows(service)}
        content = {media_type: {"schema": _describe_predictions(media_type)} for media_type in SHOWN_OUTPUTS}
    described["responses"]["200"] = {"description": STATUSES[200], "headers": headers}
    if content:
        described["responses"]["200"]["content"] = content
    for status in route.errors:
        described["responses"][str(status)] = {
            "description": STATUSES[status],
            "headers": headers | ({"Retry-After": RETRY_AFTER} if status == 503 else {}),
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}},
        }
    return described


def _of_media_type(route: Route) -> Json:
    return {"type": "object"} if route.media_type == "application/json" else {"type": "string"}


def _describe_rows(service: ScoringService) -> Json:
    """Return the formats of rows. `Content-Encoding: gzip` and other names of the same formats are not described."""
    row: Json = {"$ref": "#/components/schemas/Row"}
    rows: Json = {"type": "array", "items": row, "minItems": 1, "maxItems": service.limits.max_rows}
    wrapped = [_describe_wrapper(name, rows) for name in WRAPPERS]
    example = make_example_row(service)
    examples: dict[str, Any] = {
        "text/csv": ",".join(map(_quote, example)) + "\n" + ",".join(map(_quote, example.values())) + "\n",
        "application/json": {"instances": [example]},
        "application/jsonlines": json.dumps(example) + "\n",
    }
    schemas: dict[str, Json] = {
        "application/json": {"anyOf": [*wrapped, rows, row]},
        "application/x-parquet": {"type": "string", "format": "binary", "description": "A Parquet file."},
    }
    return {
        media_type: {
            "schema": schemas.get(media_type, {"type": "string"}),
            **({"example": examples[media_type]} if media_type in examples else {}),
        }
        for media_type in SHOWN_INPUTS
    }


def _describe_wrapper(name: str, rows: Json) -> Json:
    properties = {name: rows, **{ignored: {"type": "string"} for ignored in sorted(IGNORED)}}
    return {"type": "object", "required": [name], "properties": properties, "additionalProperties": False}


def _quote(value: object) -> str:
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'


def _describe_predictions(media_type: str) -> Json:
    if media_type != "application/json":
        return {"type": "string", "description": "One line for each row."}
    records = {"type": "array", "items": {"$ref": "#/components/schemas/Record"}, "minItems": 1}
    return {"type": "object", "required": ["predictions"], "properties": {"predictions": records}}


def _describe_row(service: ScoringService) -> Json:
    columns = service.column_examples()
    properties = {column.name: _describe_column(column, service.limits.max_text_length) for column in columns}
    if service.id_name is not None:
        description = "Is in the record of the row, unchanged. Optional."
        properties[service.id_name] = {"type": PLAIN_TYPES, "x-role": "id", "description": description}
    return {
        "type": "object",
        "description": "Other columns are ignored. null and the empty text are missing values.",
        "required": [column.name for column in columns],
        "properties": properties,
        "example": make_example_row(service),
    }


def _describe_column(column: ColumnExample, max_length: int) -> Json:
    role = "A number, or its text." if column.role == "number" else f"{column.role.capitalize()}."
    described = {"type": PLAIN_TYPES, "x-role": column.role, "description": role, "maxLength": max_length}
    return {**described, "examples": list(column.values)} if column.values else described


def _describe_record(schema: pa.Schema) -> Json:
    return {
        "type": "object",
        "description": "The prediction for one row.",
        "required": schema.names,
        "properties": {field.name: _describe_type(field.type) for field in schema},
    }


def _describe_type(arrow_type: pa.DataType) -> Json:
    if pa.types.is_list(arrow_type):
        return {"type": "array", "items": _describe_type(arrow_type.value_type)}
    for name, is_type in (
        ("integer", pa.types.is_integer),
        ("number", pa.types.is_floating),
        ("boolean", pa.types.is_boolean),
        ("string", pa.types.is_string),
    ):
        if is_type(arrow_type):
            return {"type": name}
    return {}
