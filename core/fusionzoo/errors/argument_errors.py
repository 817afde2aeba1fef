"""What a user gives on the command line of preprocess.py and evaluate.py."""

from __future__ import annotations

from collections.abc import Sequence

from fusionzoo.errors.base import ProblemsError, ZooError
from fusionzoo.errors.wording import list_names


class ArgumentsError(ProblemsError):
    """The values of arguments cannot be used; holds all problems."""

    heading = "The arguments cannot be used: {count}."


class CommandLineError(ZooError):
    """A command line has an argument that the script does not have, or lacks a value."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        arguments = list_names([f"--{name}" for name in names])
        fix = f"give these arguments, each with a value: {arguments}."
        super().__init__(f"The command line cannot be used: {message}.", fix, "FZ-J101")
