"""`fusionzoo show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionzoo.cli.output import AsJson, exit_on_user_error, one_line, print_json, print_line, print_table

if TYPE_CHECKING:
    from fusionzoo.registry.description import Description

Name = Annotated[str, typer.Argument(help="A model_class, a text_encoder, or 'core' for the settings of every job.")]


def show(name: Name, as_json: AsJson = False) -> None:
    """Show the inputs and settings of a model or text encoder.

    Prints each setting with its default, its allowed values and its meaning; the paper; and the inputs: text or table.
    """
    with exit_on_user_error(), redirect_stdout(sys.stderr):  # a plugin may print while it is imported
        descriptions = _describe(name)
    if as_json:
        print_json([asdict(description) for description in descriptions])
        return
    for i, description in enumerate(descriptions):
        if i:
            typer.echo()
        _print_description(description)


def _describe(name: str) -> list[Description]:
    from fusionzoo.registry import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry
    from fusionzoo.registry.description import CORE_SETTINGS_NAME, describe_core, describe_name

    if name != CORE_SETTINGS_NAME:
        return describe_name(name)
    is_plugin_name = any(name in Registry.discover(group) for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP))
    return [describe_core(), *(describe_name(name) if is_plugin_name else [])]


def _print_description(description: Description) -> None:
    print_line(
        " ".join(dict.fromkeys([description.kind, description.name]))
        + f" ({description.distribution} {description.version})"
    )
    for label, value in _collect_facts(description).items():
        typer.echo(f"  {label:<13} {one_line(value)}")
    rows = list(_list_settings(description))
    if rows:
        print_table(("setting", "default", "allowed values", "meaning"), rows)
    else:
        typer.echo("  This plugin has no settings.")
    if description.metrics:
        typer.echo()
        print_table(
            ("metric", "better", "tasks", "meaning"),
            [
                (
                    f"val/{metric['name']}",
                    "greater" if metric["greater_is_better"] else "smaller",
                    ", ".join(metric["tasks"]),
                    metric["description"],
                )
                for metric in description.metrics
            ],
        )


def _list_settings(description: Description) -> Iterator[tuple[str, str, str, str]]:
    """Yield the cells of each setting, and of each key of a nested one after it."""
    from fusionzoo.hyperparameters.schema_text import describe_allowed_values, list_nested_keys  # imports pydantic

    required = description.settings.get("required", [])
    for name, schema in description.properties.items():
        for path, part, is_required in [(name, schema, name in required), *list_nested_keys(name, schema)]:
            meaning = str(part.get("description", ""))
            yield path, _format_default(part, is_required), describe_allowed_values(part), meaning


def _collect_facts(description: Description) -> dict[str, str]:
    from fusionzoo.registry import TEXT_ENCODERS_GROUP, Registry
    from fusionzoo.registry.description import CORE_SETTINGS_NAME

    facts = {"paper": description.paper or "not given"} if description.kind != CORE_SETTINGS_NAME else {}
    if description.kind == "model_class":
        facts["needs"] = " and ".join(description.needs) or "nothing"
        facts["reads"] = " and ".join(description.reads) or "nothing"
    if description.tasks:
        facts["tasks"] = ", ".join(description.tasks)
    if description.text_encoders is not None:
        installed = f"any installed one: {', '.join(Registry.discover(TEXT_ENCODERS_GROUP)) or 'none is installed'}"
        facts["text encoder"] = " or ".join(description.text_encoders) or installed
    return facts


def _format_default(schema: Mapping[str, Any], required: bool) -> str:
    if required or "default" not in schema:
        return "required" if required else ""
    return json.dumps(schema["default"], ensure_ascii=False)
