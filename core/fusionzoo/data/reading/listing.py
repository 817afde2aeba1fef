"""List the part files of a channel: what is below its folder, its type, and its partition columns."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from fusionzoo import errors
from fusionzoo.data.problem_log import ProblemLog
from fusionzoo.data.reading import folder_walk
from fusionzoo.data.reading.file_type import detect_file_type
from fusionzoo.data.reading.formats import known_suffixes
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.errors.wording import list_names, pluralize

log = logging.getLogger(__name__)
HIVE_NULL = "__HIVE_DEFAULT_PARTITION__"


def list_part_files(name: str, folder: Path, columns: Sequence[str], options: ReadOptions) -> tuple[PartFile, ...]:
    """Return the part files in the natural order of their names, and log which names were skipped.

    Raises:
        errors.DataError: the folder is missing or has no part file, or something in it cannot be read.
    """
    files = find_part_files(name, folder, columns, options)
    if not files:
        raise errors.DataError([errors.empty_channel(name, folder)])
    return files


def find_part_files(name: str, folder: Path, columns: Sequence[str], options: ReadOptions) -> tuple[PartFile, ...]:
    """Return the part files like `list_part_files`; there may be none.

    Raises:
        errors.DataError: the folder is missing, or something in it cannot be read.
    """
    shown_folder = options.folder_name or name
    if not folder.exists():
        raise errors.DataError([errors.missing_channel(name, folder)])
    if not folder.is_dir():
        raise errors.DataError([errors.not_a_folder(name, folder)])
    content = folder_walk.list_files(folder, shown_folder)
    problems, skipped = ProblemLog(), list(content.skipped)
    for problem in content.problems:
        problems.add(problem)
    files = []
    for path in sorted(content.files, key=lambda path: _natural_sort_key(path.as_posix())):
        file_name = _printable(f"{shown_folder}/{path.as_posix()}")
        partition = _parse_partition(path)
        own_columns = [column for column in columns if column not in dict(partition)]
        try:
            with problems.collect():
                file_type = detect_file_type(folder / path, file_name, own_columns, options)
                if file_type is None:
                    skipped.append(path.as_posix())
                else:
                    files.append(
                        PartFile(folder / path, file_name, file_type.format, file_type.gzipped, options, partition)
                    )
        except OSError as cause:
            problems.add(errors.unreadable_folder(file_name, cause))
    problems.raise_if_any()
    if skipped:
        reason = "they begin with '.' or '_', or are empty and have no known suffix"
        names = list_names([_printable(path) for path in skipped], 200)
        log.info("%s: %s skipped, because %s: %s", name, pluralize(len(skipped), "name"), reason, names)
    return tuple(files)


def describe_file(path: Path, columns: Sequence[str], options: ReadOptions, name: str | None = None) -> PartFile | None:
    """Return one file as a part file; None if it is empty and its suffix names no format.

    Its name in messages and row ids is `name`, by default that of its folder and of the file, as if the folder was a
    channel.

    Raises:
        errors.DataError: the file is of no known type, or not of the type that its suffix names.
        OSError: the file cannot be opened.
    """
    name = _printable(name or f"{path.absolute().parent.name}/{path.name}")
    file_type = detect_file_type(path, name, columns, options)
    return None if file_type is None else PartFile(path, name, file_type.format, file_type.gzipped, options)


def find_part_file(path: Path, columns: Sequence[str], options: ReadOptions) -> PartFile:
    """Return a single file as a part file, which messages call by its path.

    Raises:
        errors.DataError: there is no such file, or it is of no known type, or it cannot be opened.
    """
    name = _printable(str(path))
    if problem := folder_walk.find_file_problem(path, name):
        raise errors.DataError([problem])
    try:
        file = describe_file(path, columns, options, name)
    except OSError as cause:
        raise errors.DataError([errors.unreadable_folder(name, cause)]) from cause
    if file is None:
        raise errors.DataError([errors.unknown_file_type(name, known_suffixes(), "it is empty")])
    return file


def find_outer_folder(file: PartFile, column: str) -> Path | None:
    """Return the folder above a file of the disk whose name gives a column, such as `country=de`; None without one."""
    if file.content is not None or not file.path.exists():
        return None
    return next(
        (folder for folder in file.path.absolute().parents if column in dict(_parse_names([folder.name]))), None
    )


def _parse_partition(path: Path) -> tuple[tuple[str, str | None], ...]:
    """Return the columns that the folders of a path such as `country=de` give."""
    return _parse_names(path.parts[:-1])


def _parse_names(folders: Sequence[str]) -> tuple[tuple[str, str | None], ...]:
    """Return the columns that names of folders give, as Spark and Hive write them."""
    pairs = [part.partition("=") for part in folders if not part.startswith("=") and "=" in part]
    return tuple((unquote(key), None if value == HIVE_NULL else unquote(value)) for key, _, value in pairs)


def _natural_sort_key(name: str) -> tuple[list[int | str], str]:
    """Return a key that sorts the numbers in names by value."""
    return [int(part) if i % 2 else part for i, part in enumerate(re.split("([0-9]+)", name))], name


def _printable(name: str) -> str:
    """Return a name without the half surrogates that stand for bytes that are not UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode()
