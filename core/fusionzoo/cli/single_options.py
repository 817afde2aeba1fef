"""Commands that refuse an option that is given twice. Typer would drop all of its values but the last one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand
from typer.models import CommandFunctionType


class SingleOptionsCommand(TyperCommand):
    """A command that takes one value for each option, except for options that are lists, such as `--set`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line into `ctx`, and return the arguments that are left.

        Raises:
            Exit status 2, if an option with a value is given more than once.
        """
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, count in Counter(given).items():
            if count > 1 and _takes_one_value(parameter):
                ctx.fail(f"Option '{parameter.opts[0]}' is given {count} times. {_advise(parameter)}")
        return super().parse_args(ctx, args)


class SingleOptionsTyper(typer.Typer):
    """Commands that are all of the class `SingleOptionsCommand`."""

    def command(self, *args: Any, **options: Any) -> Callable[[CommandFunctionType], CommandFunctionType]:
        return super().command(*args, cls=SingleOptionsCommand, **options)


def _takes_one_value(parameter: Any) -> bool:
    is_option = parameter.param_type_name == "option"
    return is_option and not parameter.multiple and not parameter.is_flag and not parameter.count


def _advise(parameter: Any) -> str:
    advice = {
        "--input": "It is one file or folder: put several files into a folder.",
        "--columns": "Give the columns once, separated by commas.",
    }
    return advice.get(parameter.opts[0], "Give it once.")
