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
    from fusionzoo.description import Description

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
    from fusionzoo.description import OF_CORE, of_core, of_name
    from fusionzoo.registry import MODELS, TEXT_ENCODERS, Registry

    if name != OF_CORE:
        return of_name(name)
    taken = any(name in Registry.discover(group) for group in (MODELS, TEXT_ENCODERS))
    return [of_core(), *(of_name(name) if taken else [])]


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
    from fusionzoo.description import OF_CORE
    from fusionzoo.registry import TEXT_ENCODERS, Registry

    facts = {"paper": one.paper or "none given"} if one.kind != OF_CORE else {}
    if one.kind == "model_class":
        facts["needs"] = " and ".join(one.needs) or "nothing"
        facts["reads"] = " and ".join(one.reads) or "nothing"
    if one.text_encoders is not None:
        installed = f"any that is installed: {', '.join(Registry.discover(TEXT_ENCODERS)) or 'there is none'}"
        facts["text encoder"] = " or ".join(one.text_encoders) or installed
    return facts


def _default(schema: Mapping[str, Any], required: bool) -> str:
    if required or "default" not in schema:
        return "required" if required else ""
    return json.dumps(schema["default"], ensure_ascii=False)
