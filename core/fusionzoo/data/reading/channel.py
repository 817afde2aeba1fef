"""Open a channel: find its part files, check their columns, and iterate over their rows in blocks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading import partitions
from fusionzoo.data.reading.formats import DELIMITED, FORMATS
from fusionzoo.data.reading.listing import find_outer_folder, find_part_file, list_part_files
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors.wording import keep_letters, nearest_names, note_lookalikes

log = logging.getLogger(__name__)

NO_COLUMN = "\0"  # a column that no file has, so that a search for it reads every row
MissingColumn = Callable[[str, str, Sequence[str]], errors.Problem]
"""Returns the problem of a file (by its name) that lacks a column, from the columns that it has."""


@dataclass(frozen=True)
class Channel:
    """The part files of a split in the order of their names, part-2 before part-10.

    Iterating over a channel reads the files; it can be repeated. `absent_columns` are optional columns that no part
    file has; they are read as null.
    """

    name: str
    files: tuple[PartFile, ...]
    columns: tuple[str, ...]
    absent_columns: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """The format of the first part file, which is also the format of the prediction files."""
        return self.files[0].format

    def has_column(self, column: str) -> bool:
        """Return whether each part file has the column; a file that has no rows, or cannot be read, does not matter."""
        return all(_has_column(file, column, if_empty=True) for file in self.files)

    def list_all_columns(self) -> list[str]:
        """Return the columns of all part files; of JSON Lines, the keys of all lines, which are read for it.

        Raises:
            errors.DataError: a part file cannot be read.
        """
        names: dict[str, None] = {}
        problems = ProblemLog()
        for file in self.files:
            with problems.collect(), file.convert_read_errors():
                names.update(dict.fromkeys(partitions.list_columns(file, [*self.columns, NO_COLUMN]) or []))
        problems.raise_if_any()
        return list(names)

    def list_columns(self) -> list[str]:
        """Return the columns of the first part file; of JSON Lines, the keys of its first line."""
        file = self.files[0]
        with file.convert_read_errors():
            return partitions.list_columns(file, []) or []

    def with_columns(self, columns: Sequence[str], missing_column: MissingColumn | None = None) -> Channel:
        """Return a channel that reads `columns` of the same part files. Checks each file, but reads no rows yet.

        `missing_column` describes a column that a part file lacks; None for a column that the settings name.

        Raises:
            errors.DataError: a part file lacks a column or cannot be read.
        """
        problems = []
        for file in self.files:
            may_be_null = file.format == "jsonl"  # whose rows need not have all keys
            describe = missing_column or partial(errors.missing_column, used=columns, may_be_null=may_be_null)
            problems += _find_column_problems(file, columns, describe)
        if problems:
            raise errors.DataError(problems)
        return replace(self, columns=tuple(columns))

    def __iter__(self) -> Iterator[Rows]:
        """Yield all rows.

        Raises:
            errors.DataError: part files are truncated, of another format than their names say, or not UTF-8. Raised
                after the rows of the other files, with all problems together.
        """
        problems = ProblemLog()
        for file in self.files:
            with problems.collect(), file.convert_read_errors():
                present = [column for column in self.columns if column not in self.absent_columns]
                for rows in partitions.read_rows(file, present):
                    yield rows.with_null_columns(self.absent_columns) if self.absent_columns else rows
        problems.raise_if_any()


def open_channel(
    name: str,
    folder: Path,
    columns: Sequence[str],
    options: ReadOptions | None = None,
    optional_columns: Sequence[str] = (),
) -> Channel:
    """Open the channel in `folder`: open each part file and check its columns. No rows are read yet.

    Names that begin with '.' or '_' (such as `_SUCCESS`) are skipped. If no part file has a column of
    `optional_columns`, its values are null. If only some part files have it, it is missing in the others.

    Raises:
        errors.DataError: the folder is missing or holds no data, or a part file lacks a column or cannot be read.
    """
    required = [column for column in columns if column not in optional_columns]
    files = list_part_files(name, folder, required, options or ReadOptions())
    return open_files(name, files, columns, optional_columns)


def open_files(
    name: str,
    files: tuple[PartFile, ...],
    columns: Sequence[str],
    optional_columns: Sequence[str] = (),
    missing_column: MissingColumn | None = None,
) -> Channel:
    """Open a channel of these part files, see `open_channel`.

    Raises:
        errors.DataError: a part file lacks a column or cannot be read.
    """
    channel = Channel(name, files, ())
    absent = [name for name in optional_columns if not any(_has_column(file, name) for file in channel.files)]
    present = channel.with_columns([column for column in columns if column not in absent], missing_column)
    return replace(present, columns=tuple(columns), absent_columns=tuple(absent))


def open_path(path: Path, columns: Sequence[str], options: ReadOptions) -> Channel:
    """Open a single file, or the folder of a channel, to read no columns yet; use `Channel.with_columns`.

    Messages call files by `path`. `columns` help to recognize the format of files whose names have no known suffix.

    Raises:
        errors.DataError: there is no such file or folder, or it holds no data, or a file cannot be read.
    """
    name = str(path)
    if path.is_dir():
        files = list_part_files(name, path, columns, replace(options, folder_name=name))
    else:
        files = (find_part_file(path, columns, options),)
    return Channel(name, files, ())


def with_numbered_columns(channel: Channel) -> Channel:
    """Return the channel with the numbers of its columns as their names, if they have no names (`csv_header` false).

    By the count of the columns of train, a file without labels is recognized.
    """
    for file in channel.files:
        if file.options.header is False and file.format in DELIMITED:
            with file.convert_read_errors():
                columns = FORMATS[file.format].list_columns(file, ())
            if columns:
                header = tuple(columns)
                files = [replace(each, options=replace(each.options, header=header)) for each in channel.files]
                return replace(channel, files=tuple(files))
    return channel


def _has_column(file: PartFile, column: str, if_empty: bool = False) -> bool:
    """Return whether the file has the column, or `if_empty` for a file without rows.

    True for a file that cannot be read, which is reported elsewhere.
    """
    present: list[str] | None = [column]
    with ProblemLog().collect(), file.convert_read_errors():
        present = partitions.list_columns(file, [column])
    return if_empty if present is None else column in present


def find_similar_columns(channel: Channel) -> dict[str, str]:
    """Return the absent columns of a channel with the column of its first file that has the most similar name.

    Raises:
        errors.DataError: the file cannot be read.
    """
    present = channel.list_columns() if channel.absent_columns else []
    others = [name for name in present if name not in channel.columns]  # no column has two roles
    nearest = {column: nearest_names(column, others) for column in channel.absent_columns}
    return {column: names[0] for column, names in nearest.items() if names}


def warn_of_similar_columns(channel: Channel, *, same_letters: bool = False) -> None:
    """Warn if an optional column is absent, and a similar name may be a misspelling of it or a folder above has it.

    With `same_letters`, names are similar if they differ only in case, spaces and punctuation.
    """
    for column, name in find_similar_columns(channel).items():
        if not same_letters or keep_letters(name) == keep_letters(column):
            note = note_lookalikes([column], [name])
            text = "%s has no column '%s', but it has '%s'%s. Rename it if it is the same."
            log.warning(text, channel.name, column, name, note)
    for column in channel.absent_columns:
        if (folder := find_outer_folder(channel.files[0], column)) is not None:
            text = "%s has no column '%s', but its folder %s has it in its name. Give the folder above to read it."
            log.warning(text, channel.name, column, folder)


def _find_column_problems(
    file: PartFile, columns: Sequence[str], missing_column: MissingColumn
) -> list[errors.Problem]:
    problems = ProblemLog()
    with problems.collect(), file.convert_read_errors():
        present = partitions.list_columns(file, columns)
        if present is not None:
            missing = [column for column in columns if column not in present]
            own = [column for column in columns if column not in dict(file.partition)]
            is_in_file = [column for column in missing if find_outer_folder(file, column) is None]
            if is_in_file and (advice := FORMATS[file.format].advise(file, own)):
                return [errors.header_does_not_fit(file.name, missing, present, advice)]
            repeated = [errors.duplicate_column(file.name, column) for column in columns if present.count(column) > 1]
            return [_describe_missing_column(file, column, present, missing_column) for column in missing] + repeated
    return problems.problems


def _describe_missing_column(
    file: PartFile, column: str, present: Sequence[str], missing_column: MissingColumn
) -> errors.Problem:
    folder = find_outer_folder(file, column)
    if folder is None:
        return missing_column(file.name, column, present)
    return errors.column_of_outer_folder(file.name, column, folder)
