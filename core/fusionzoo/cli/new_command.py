"""`fusionzoo new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.output import AsJson, print_json, reported

Name = Annotated[str, typer.Argument(help="The architecture's name in snake_case, as in my_idea.")]
AsEncoder = Annotated[bool, typer.Option("--encoder", help="A text encoder with two models, instead of a fusion.")]
Folder = Annotated[Path, typer.Option(help="The folder to put the plugin's folder into.")]


def new(name: Name, encoder: AsEncoder = False, folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Write a plugin that works, yours to change.

    A fusion of text and table, over any text encoder, or with --encoder a text encoder and its models.
    """
    from fusionzoo.registry.scaffold import write_plugin

    with reported():
        made = write_plugin(name, folder, encoder)
    commands = [f"pip install -e {shlex.quote(str(made.folder))}", *(f"fusionzoo check {one}" for one in made.names)]
    if as_json:
        print_json({"folder": str(made.folder), "files": made.files, "names": made.names, "commands": commands})
        return
    typer.echo(f"{made.folder} is a plugin that provides {' and '.join(made.names)}:")
    for file in made.files:
        typer.echo(f"  {file}")
    typer.echo("Install and check it:")
    for command in commands:
        typer.echo(f"  {command}")
