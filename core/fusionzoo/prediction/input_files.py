"""The files to score: one file, the part files of a folder, or standard input, with the columns that are read."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf
from pathlib import Path

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.channel import Channel, open_files, warn_of_similar_columns
from fusionzoo.data.reading.formats import FORMATS
from fusionzoo.data.reading.listing import describe_file, find_part_files
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile, ignore_row
from fusionzoo.data.targets.target_choice import choose_target
from fusionzoo.errors.prediction_errors import PredictionJobError
from fusionzoo.local_paths import to_local_path
from fusionzoo.prediction.standard_streams import STREAM, open_standard_input
from fusionzoo.serving.row_source import ModelColumns

FORMAT_NAMES = {**{name: name for name in FORMATS}, "json": "jsonl"}
"""The names of formats on the command line, and the format that each of them means."""

SCANNED_ROWS = 1000
"""Rows of JSON on standard input that show which columns there are."""


@dataclass(frozen=True)
class InputFiles:
    """The part files, in the natural order of their names.

    `path` is what the user gave. `folder` is that path if it is a folder.
    """

    path: str
    files: tuple[PartFile, ...]
    folder: Path | None = None

    @property
    def format(self) -> str:
        """The format of the first file."""
        return self.files[0].format

    def relative_name(self, file: PartFile) -> str:
        """Return the path of a part file below the folder; its name if the input is no folder."""
        return file.path.name if self.folder is None else file.path.relative_to(self.folder).as_posix()


@contextmanager
def open_input(
    path: str, format: str | None, settings: DataSettings, *, reject_rows: bool = False
) -> Iterator[InputFiles]:
    """Yield the files to score, with their formats.

    Args:
        path: a file, a folder, or "-" for standard input.
        format: the format of standard input and of files without a known suffix, as `FORMAT_NAMES` has it.
        settings: the settings of the model, which say how delimited files are read.
        reject_rows: whether rows that a format does not allow are left out; otherwise they are an error.

    Raises:
        PredictionJobError: there is no such file, it is empty, or its suffix contradicts `format`.
        errors.PathError: the path is a URL.
        errors.DataError: a file is of no known type, or cannot be read.
    """
    content_type = None if format is None else FORMAT_NAMES[format]
    features = settings.feature_columns
    options = ReadOptions.for_scoring(settings)
    options = replace(options, content_type=content_type, max_file_bytes=inf, max_expansion=inf)
    if reject_rows:
        labels = [] if choose_target(settings).labels_may_be_lists else settings.label_columns
        plain_columns = frozenset([*features, settings.id_column, *labels])
        options = replace(options, reject_row=ignore_row, plain_columns=plain_columns)
    if path == STREAM:
        if content_type is None:
            raise PredictionJobError.format_needed()
        options = replace(options, max_scanned_rows=SCANNED_ROWS)  # the others may not have arrived yet
        if sys.stdin is None:
            raise PredictionJobError.closed_standard_input()
        with open_standard_input(sys.stdin.buffer, content_type, options) as stream:
            yield InputFiles(path, (stream,))
        return
    inputs = _find_files(to_local_path("--input", path), options, features)
    for file in inputs.files:
        if content_type is not None and file.format != content_type:
            raise PredictionJobError.other_format(file.name, file.format, format or content_type)
    yield inputs


def _find_files(path: Path, options: ReadOptions, features: Sequence[str]) -> InputFiles:
    if not path.exists():
        raise PredictionJobError.missing_input(path)
    if path.is_dir():
        options = replace(options, folder_name=path.absolute().name)
        files = find_part_files("input", path, features, options)
        if not any(file.path.stat().st_size for file in files):
            raise PredictionJobError.empty_input(str(path))
        return InputFiles(str(path), files, path)
    try:
        file = describe_file(path, features, options) if path.is_file() and path.stat().st_size else None
    except OSError as cause:
        raise PredictionJobError.unreadable_input(path, cause) from cause
    if file is None and not path.is_file():
        raise PredictionJobError.unreadable_input(path, OSError("it is neither a file nor a folder"))
    if file is None:
        raise PredictionJobError.empty_input(str(path))
    return InputFiles(str(path), (file,))


@dataclass(frozen=True)
class ColumnsRead:
    """The columns that are read.

    Attributes:
        features: those of the model.
        id_name: the id column; None if rows have FILE:ROW as their ids.
        labels: the label columns; empty if the input has none, or they are not needed.
        carried: further columns that are carried through.
        late: columns of ids and labels that the first rows of a stream lack; it is an error if a later row has one.
    """

    features: tuple[str, ...]
    id_name: str | None
    labels: tuple[str, ...]
    carried: tuple[str, ...]
    late: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """All columns, without duplicates."""
        ids = [] if self.id_name is None else [self.id_name]
        return list(dict.fromkeys([*ids, *self.features, *self.labels, *self.carried, *self.late]))


def choose_columns(
    files: InputFiles, settings: DataSettings, carried: Sequence[str], *, labels: bool = True
) -> ColumnsRead:
    """Return the columns to read. Ids and labels are read if a file has them.

    Args:
        files: the files to score; each of them is opened, but no rows are read yet.
        settings: the settings of the model.
        carried: the columns to carry through.
        labels: whether labels are read.

    Raises:
        errors.DataError: a file lacks a column of the model or of `carried`, or cannot be read.
        PredictionJobError: some files have labels, and others have none.
    """
    features = settings.feature_columns
    ids = [] if settings.id_name is None else [settings.id_name]
    optional = [*ids, *(settings.label_columns if labels else [])]
    optional = [name for name in dict.fromkeys(optional) if name not in carried and name not in features]
    names = list(dict.fromkeys([*features, *carried, *optional]))
    try:
        channel = open_files("input", files.files, names, optional, partial(_describe_missing, settings))
    except errors.DataError:
        if labels and len(files.files) > 1:
            choose_columns(files, settings, carried, labels=False)  # raises the same error if labels are not the cause
            raise PredictionJobError.labels_in_some_files(settings.label_columns) from None
        raise
    warn_of_similar_columns(channel, same_letters=True)  # most inputs have no labels, and some other similar column
    absent = channel.absent_columns
    present_labels = tuple(settings.label_columns) if labels and not set(absent) & set(settings.label_columns) else ()
    id_name = None if settings.id_name in absent else settings.id_name
    is_scanned = any(file.options.max_scanned_rows is not None and file.format == "jsonl" for file in files.files)
    late = absent if is_scanned else ()
    return ColumnsRead(tuple(features), id_name, present_labels, tuple(dict.fromkeys(carried)), late)


def _describe_missing(settings: DataSettings, name: str, column: str, present: Sequence[str]) -> errors.Problem:
    """Return the problem of a file that lacks a column of the model, or one that the user names in --columns."""
    columns = ModelColumns.of(settings)
    if column in columns.known:
        return columns.describe_absent(name, column, present)
    return errors.missing_column(name, column, present)


def open_part(files: Sequence[PartFile], columns: Sequence[str]) -> Channel:
    """Return the rows of these files. `choose_columns` has checked that they have the columns."""
    return Channel("input", tuple(files), tuple(columns))
