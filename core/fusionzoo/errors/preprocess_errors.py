"""What a user gives to preprocess.py and `fusionzoo preprocess`: folders and columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import Problem, ZooError
from fusionzoo.errors.wording import join_first, list_names


class PreprocessError(ZooError):
    """The job cannot run with these output folders."""

    @classmethod
    def folder_not_empty(cls, folder: Path, names: Sequence[str]) -> PreprocessError:
        """A training job would read the files as part of the channel."""
        message = f"The folder {folder} of a channel has files that are not of an earlier run: {join_first(names, 5)}."
        return cls(message, "move them out of the folder.", "FZ-J103")


def mixed_column_types(column: str, types: Sequence[str]) -> Problem:
    """Part files have the values of a column in types that no type can hold, such as bytes and numbers."""
    fix = "write all part files with one type for the column"
    return Problem.of_column("", column, f"its values are of the types {list_names(list(types))}", fix, "FZ-J104")
