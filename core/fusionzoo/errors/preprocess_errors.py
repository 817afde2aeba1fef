"""What a user gives to preprocess.py and `fusionzoo preprocess`: arguments, folders and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ProblemsError, ZooError
from fusionzoo.errors.wording import join_first, list_names


class ArgumentsError(ProblemsError):
    """The arguments of the preprocessing cannot be used; holds all problems."""

    heading = "The arguments of the preprocessing cannot be used: {count}."


class CommandLineError(ZooError):
    """A command line has an argument that the script does not have, or lacks a value."""

    def __init__(self, message: str, names: Sequence[str]) -> None:
        known = list_names([f"--{name}" for name in names])
        fix = f"give these arguments, each with a value: {known}."
        super().__init__(f"The command line cannot be used: {message}.", fix, "FZ-J101")


class PreprocessError(ZooError):
    """The job cannot run on these hosts, or with these output folders."""

    @classmethod
    def several_hosts(cls, hosts: int) -> PreprocessError:
        """Each instance of a processing job has its own disk, and a split needs all rows in one place."""
        message = f"The job has {hosts} instances, but the rows of a class or group are divided over the splits once, "
        return cls(f"{message}on one instance.", "set InstanceCount (instance_count) to 1.", "FZ-J102")

    @classmethod
    def folder_not_empty(cls, folder: Path, names: Sequence[str]) -> PreprocessError:
        """A training job would read the files as part of the channel."""
        message = f"The folder {folder} of a channel has files that are not of an earlier run: {join_first(names, 5)}."
        return cls(message, "move them out of the folder.", "FZ-J103")


def mixed_column_types(column: str, types: Sequence[str]) -> Problem:
    """Part files have the values of a column in types that no type can hold, such as bytes and numbers."""
    fix = "write all part files with one type for the column"
    return Problem(f"column '{column}'", f"its values are of the types {list_names(list(types))}", fix, "FZ-J104")
