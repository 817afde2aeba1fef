"""`fusionzoo show`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fusionzoo import errors
from fusionzoo.cli.output import AsJson, one_line, print_json, print_line, print_table, reported

if TYPE_CHECKING:
    from fusionzoo.registry.description import Description

Name = Annotated[str, typer.Argument(help="A model_class or text_encoder, or 'core' for the settings of every job.")]


def show(name: Name, as_json: AsJson = False) -> None:
    """Show what a model or text encoder needs and takes.

    Its settings with their defaults, what they take and what they mean; its paper; whether it reads text or a table.
    """
    with reported(), redirect_stdout(sys.stderr):  # a plugin may print while it is imported
        found = _descriptions(name)
    if as_json:
        print_json([asdict(one) for one in found])
        return
    for i, one in enumerate(found):
        if i:
            typer.echo()
        _print(one)


def _descriptions(name: str) -> list[Description]:
    from fusionzoo.registry.description import CORE_SETTINGS_NAME, describe_core, describe_name
    from fusionzoo.registry.discovery import MODELS_GROUP, TEXT_ENCODERS_GROUP, Registry

    if name != CORE_SETTINGS_NAME:
        return describe_name(name)
    taken = any(name in Registry.discover(group) for group in (MODELS_GROUP, TEXT_ENCODERS_GROUP))
    return [describe_core(), *(describe_name(name) if taken else [])]


def _print(one: Description) -> None:
    print_line(" ".join(dict.fromkeys([one.kind, one.name])) + f" ({one.distribution} {one.version})")
    for label, value in _facts(one).items():
        typer.echo(f"  {label:<13} {one_line(value)}")
    required = one.settings.get("required", [])
    rows = [
        (name, _default(schema, name in required), errors.allowed_values(schema), str(schema.get("description", "")))
        for name, schema in one.properties.items()
    ]
    if rows:
        print_table(("setting", "default", "takes", "meaning"), rows)
    else:
        typer.echo("  It has no settings.")


def _facts(one: Description) -> dict[str, str]:
    from fusionzoo.registry.description import CORE_SETTINGS_NAME
    from fusionzoo.registry.discovery import TEXT_ENCODERS_GROUP, Registry

    facts = {"paper": one.paper or "none given"} if one.kind != CORE_SETTINGS_NAME else {}
    if one.kind == "model_class":
        facts["needs"] = " and ".join(one.needs) or "nothing"
        facts["reads"] = " and ".join(one.reads) or "nothing"
    if one.text_encoders is not None:
        installed = f"any that is installed: {', '.join(Registry.discover(TEXT_ENCODERS_GROUP)) or 'there is none'}"
        facts["text encoder"] = " or ".join(one.text_encoders) or installed
    return facts


def _default(schema: Mapping[str, Any], required: bool) -> str:
    if required or "default" not in schema:
        return "required" if required else ""
    return json.dumps(schema["default"], ensure_ascii=False)
