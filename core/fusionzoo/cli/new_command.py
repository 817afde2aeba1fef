"""`fusionzoo new`."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from fusionzoo.cli.output import AsJson, exit_on_user_error, print_json
from fusionzoo.cli.path_option import path_option

Name = Annotated[str, typer.Argument(help="Name of the architecture in snake_case, for example my_idea.")]
AsEncoder = Annotated[bool, typer.Option("--encoder", help="Write a text encoder with two models, not a fusion.")]
Folder = Annotated[Path, path_option("--folder", "The folder in which to create the plugin's folder.")]


def new(name: Name, encoder: AsEncoder = False, folder: Folder = Path(), as_json: AsJson = False) -> None:
    """Write a working plugin as a starting point.

    It is a fusion of text and table that works with every text encoder. With --encoder, it is a text encoder and two
    models that use it.
    """
    from fusionzoo.registry.scaffold import write_plugin

    with exit_on_user_error():
        plugin = write_plugin(name, folder, encoder)
    commands = [
        f"pip install -e {shlex.quote(str(plugin.folder))}",
        *(f"fusionzoo check {provided}" for provided in plugin.names),
    ]
    if as_json:
        print_json({"folder": str(plugin.folder), "files": plugin.files, "names": plugin.names, "commands": commands})
        return
    typer.echo(f"Wrote a plugin that provides {' and '.join(plugin.names)} to {plugin.folder}:")
    for file in plugin.files:
        typer.echo(f"  {file}")
    typer.echo("Install and check it:")
    for command in commands:
        typer.echo(f"  {command}")
