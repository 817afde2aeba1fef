"""The command line of a script, which has the arguments of its contract."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import BaseModel

from fusionzoo.contracts.script_contract import ProcessingScriptContract
from fusionzoo.errors.argument_errors import CommandLineError


def read_command_line(contract: ProcessingScriptContract, arguments: Sequence[str]) -> dict[str, str]:
    """Return the arguments that a command line gives, by name and without dashes.

    Raises:
        CommandLineError: an argument is unknown, or lacks its value.
    """
    names = list(contract.arguments)
    try:
        namespace, unknown = _make_parser(contract).parse_known_args(_write_dashes(arguments))
    except argparse.ArgumentError as cause:
        raise CommandLineError(str(cause), names) from cause
    if unknown:
        raise CommandLineError(f"there is no argument {unknown[0]}", names)
    texts: dict[str, str | None] = {name: getattr(namespace, to_setting(name)) for name in names}
    return {name: text for name, text in texts.items() if text is not None}


def print_help(contract: ProcessingScriptContract, settings_class: type[BaseModel]) -> None:
    """Print the description of all arguments, if the process was started with standard output."""
    if sys.stdout is not None:
        sys.stdout.write(format_help(contract, settings_class))


def format_help(contract: ProcessingScriptContract, settings_class: type[BaseModel]) -> str:
    """Return the description of all arguments; the settings class describes those of the same names."""
    return _make_parser(contract, settings_class).format_help()


def to_setting(name: str) -> str:
    """Return the name of the setting that an argument gives: label_name for label-name."""
    return name.replace("-", "_")


def _make_parser(
    contract: ProcessingScriptContract, settings_class: type[BaseModel] | None = None
) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=contract.entry_point, description=contract.description, allow_abbrev=False, exit_on_error=False
    )
    fields = {} if settings_class is None else settings_class.model_fields
    for name, default in contract.arguments.items():
        description = fields[to_setting(name)].description if fields else ""
        ending = "Required." if default is None else f"Default: {default or 'none'}."
        text = f"{description} {ending}".replace("%", "%%")
        if default == "false":  # the name alone means true
            parser.add_argument(f"--{name}", metavar="VALUE", help=text, nargs="?", const="true")
        else:
            parser.add_argument(f"--{name}", metavar="VALUE", help=text)
    return parser


def _write_dashes(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with dashes in their names: --label_name is --label-name."""
    texts = []
    for argument in arguments:
        name, equals_sign, value = argument.partition("=")
        texts.append(name.replace("_", "-") + equals_sign + value if argument.startswith("--") else argument)
    return texts
