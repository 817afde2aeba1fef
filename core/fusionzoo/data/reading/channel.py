"""Open a channel: find its part files, check their columns, and iterate over their rows in blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading import partitions
from fusionzoo.data.reading.formats import FORMATS
from fusionzoo.data.reading.listing import list_part_files
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows


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

    def list_columns(self) -> list[str]:
        """Return the columns of the first part file; of JSON Lines, the keys of its first line."""
        file = self.files[0]
        with file.convert_read_errors():
            return partitions.list_columns(file, []) or []

    def with_columns(self, columns: Sequence[str]) -> Channel:
        """Return a channel that reads `columns` of the same part files. Checks each file, but reads no rows yet.

        Raises:
            errors.DataError: a part file lacks a column or cannot be read.
        """
        problems = [problem for file in self.files for problem in _find_column_problems(file, columns)]
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
    return open_files(name, list_part_files(name, folder, columns, options or ReadOptions()), columns, optional_columns)


def open_files(
    name: str, files: tuple[PartFile, ...], columns: Sequence[str], optional_columns: Sequence[str] = ()
) -> Channel:
    """Open a channel of these part files, see `open_channel`.

    Raises:
        errors.DataError: a part file lacks a column or cannot be read.
    """
    channel = Channel(name, files, ())
    absent = [name for name in optional_columns if not any(_has_column(file, name) for file in channel.files)]
    present = channel.with_columns([column for column in columns if column not in absent])
    return replace(present, columns=tuple(columns), absent_columns=tuple(absent))


def _has_column(file: PartFile, column: str) -> bool:
    """Return whether the file has the column; True for a file that cannot be read, which is reported elsewhere."""
    present: list[str] | None = [column]
    with ProblemLog().collect(), file.convert_read_errors():
        present = partitions.list_columns(file, [column])
    return present is not None and column in present


def _find_column_problems(file: PartFile, columns: Sequence[str]) -> list[errors.Problem]:
    problems = ProblemLog()
    with problems.collect(), file.convert_read_errors():
        present = partitions.list_columns(file, columns)
        if present is not None:
            missing = [column for column in columns if column not in present]
            own = [column for column in columns if column not in dict(file.partition)]
            if missing and (advice := FORMATS[file.format].advise(file, own)):
                return [errors.header_does_not_fit(file.name, missing, present, advice)]
            repeated = [errors.duplicate_column(file.name, column) for column in columns if present.count(column) > 1]
            return [errors.missing_column(file.name, column, present) for column in missing] + repeated
    return problems.problems
