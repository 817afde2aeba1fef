"""Sources of plugins for the tests of commands, and a way to invoke a command."""

from __future__ import annotations

from click.testing import Result
from typer.testing import CliRunner

from fusionzoo.cli.commands import app


def make_plugin_source(base: str = "ModelSettings", prologue: str = "", attribute: str = "", **fields: str) -> str:
    """Return the source of a plugin with these settings. `attribute` is a line of the settings class."""
    lines = [f"    {name}: {declaration}" for name, declaration in fields.items()]
    return "\n".join(
        [
            "import enum",
            "from collections.abc import Callable",
            "from typing import Literal",
            "from pydantic import BaseModel, Field",
            "from fusionzoo import hookimpl",
            "from fusionzoo.settings import FusionSettings, ModelSettings, TextSettings",
            prologue,
            f"class Settings({base}):",
            '    """Settings."""',
            f"    {attribute}",
            *lines,
            "@hookimpl",
            "def settings_class(): return Settings",
            "@hookimpl",
            "def build_model(spec): return None",
            "@hookimpl",
            "def build_text_encoder(spec): return None",
        ]
    )


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)
