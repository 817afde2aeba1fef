"""Problems of channels, splits, and the files and lines that they hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from fusionzoo.errors.base import Advice, Problem, ProblemsError
from fusionzoo.errors.wording import list_names, pluralize, quoted, short


class DataError(ProblemsError):
    """The data cannot be used as the settings say; holds all problems of all splits."""

    heading = "The data cannot be used: {count}."


@contextmanager
def scoring_fixes() -> Iterator[None]:
    """In the block, give a DataError the fixes for an input that a trained model scores: they name no setting."""
    try:
        yield
    except DataError as error:
        if not any(problem.scoring_fix for problem in error.problems):
            raise
        raise DataError([problem.for_scoring() for problem in error.problems]) from error.__cause__


def missing_channel(name: str, folder: Path, others: Sequence[str] = ()) -> Problem:
    """The folder of a channel does not exist; `others` are the names of unused channels."""
    message = f"the folder {folder} does not exist"
    if others:
        message += f"; the other channels are {list_names([quoted([other]) for other in others], 200)}"
    alternative = "" if name == "train" else f", or set {name}_fraction to split it off train"
    fix = f"mount the {name} data there{alternative}"
    return Problem(f"channel '{name}'", message, fix, "FZ-D001")


def split_from_two_sources(name: str, folder: Path) -> Problem:
    """A split has a channel of its own and a fraction of train."""
    message = f"both the folder {folder} and {name}_fraction are given"
    return Problem(f"channel '{name}'", message, f"remove the channel or {name}_fraction", "FZ-D002")


def empty_channel(name: str, folder: Path) -> Problem:
    """The folder of a channel has no data file; names that begin with "." or "_" do not count."""
    fix = "check the S3 prefix of the channel"
    problem = Problem(f"channel '{name}'", f"the folder {folder} has no part file", fix, "FZ-D003")
    return problem.with_scoring_fix("check the path of the folder")


def channel_without_rows(name: str) -> Problem:
    """All files of a channel are empty."""
    fix = "check the step that wrote them"
    return Problem(f"channel '{name}'", "its part files have no rows", fix, "FZ-D004")


def changed_channel(name: str) -> Problem:
    """The rows of a channel changed between two reads."""
    fix = "start the job after all files are written"
    return Problem(f"channel '{name}'", "its rows changed while the job read them", fix, "FZ-D005")


def no_row_for_split(name: str, split: str, fraction: float, rows: int, can_divide: bool) -> Problem:
    """The fraction of train is less than one row, or each class has one row only, which stays in train.

    `can_divide` says whether a larger fraction would leave a row.
    """
    message = (
        f"{split}_fraction = {fraction:g} of {pluralize(rows, 'row')} leaves no row for {split}, because each class "
        "keeps at least one row in train"
    )
    fix = f"raise {split}_fraction, or mount a channel '{split}'"
    if not can_divide:
        fix = f"add rows, because a class needs at least two to be in train and {split}, or mount a channel '{split}'"
    return Problem(f"channel '{name}'", message, fix, "FZ-D006")


def no_group_for_split(
    channel: str, split: str, fraction: float, group_field: str, sizes: Sequence[int], can_divide: bool
) -> Problem:
    """No group of rows is small enough for the split, or each group has all rows of a class.

    `can_divide` says whether a larger fraction would leave a group.
    """
    message = (
        f"{split}_fraction = {fraction:g} leaves no group for {split}: the {pluralize(sum(sizes), 'row')} have "
        f"{pluralize(len(sizes), 'group')} of {min(sizes):,} to {max(sizes):,} rows, and each class keeps at least one "
        "row in train"
    )
    raising = f"raise {split}_fraction" if can_divide else "add groups, because a class needs at least two"
    fix = f"{raising}, choose a group_field with smaller groups, or mount a channel '{split}'"
    return Problem.of_column(f"channel '{channel}'", group_field, message, fix, "FZ-D007")


def unknown_file_type(name: str, suffixes: Sequence[str], found: str) -> Problem:
    """Neither the file's suffix nor its content is one of the formats that fusionzoo reads."""
    fix = f"use one of {', '.join(suffixes)}, also compressed with .gz, or move the file out of the channel"
    message = f"the suffix of the file name is not a known format, and {found}"
    return Problem(name, message, fix, "FZ-D008")


def unreadable_file(name: str, kind: str, cause: Exception) -> Problem:
    """The file is truncated, damaged, or of another format than its name says."""
    message = f"the file cannot be read as {kind} ({short(cause)})"
    fix = "write the file again: it may be truncated or of another format than its suffix says"
    return Problem(name, message, fix, "FZ-D009")


def file_not_utf8(name: str, place: str, encoding: str | None) -> Problem:
    """The file is text in another encoding, or not text."""
    fix = "save it as UTF-8, and check that its suffix names its format"
    if encoding is not None:
        fix = f"the file looks like {encoding}: save it as UTF-8"
    return Problem(name, f"the file is not UTF-8 text ({place})", fix, "FZ-D010")


def changed_file(path: Path) -> Problem:
    """Another process wrote to the file during the job."""
    fix = "start the job after all files are written"
    return Problem(str(path), "the file changed while the job read it", fix, "FZ-D011")


def rows_with_wrong_column_count(
    name: str, expected: int, count: int, examples: Sequence[tuple[int, int, int]], advice: Advice | None = None
) -> Problem:
    """Rows have more or fewer columns than the header; each example has its first and last line and its width."""
    spans = [
        (f"line {first}" if first == last else f"lines {first} to {last}", width) for first, last, width in examples
    ]
    lines = ", ".join(f"{span} ({width})" for span, width in spans)
    more = f" and {count - len(examples):,} more" if count > len(examples) else ""
    message = f"{pluralize(count, 'row')} with another number of columns than the header's {expected}: {lines}{more}"
    fix = "put texts that contain the delimiter in quotes; the file may also be truncated"
    problem = Problem(name, message, f"{advice.fix}; or {fix}" if advice else fix, "FZ-D012")
    return problem.with_scoring_fix(f"{advice.scoring_fix}; or {fix}" if advice and advice.scoring_fix else fix)


def unterminated_quote(name: str, line: int, cause: Exception, advice: Advice | None = None) -> Problem:
    """A quoted text of a delimited file has no end."""
    message = f"a quoted text does not end correctly ({short(cause)})"
    fix = "double each quote inside a quoted text; the file may also be truncated"
    problem = Problem(f"{name} line {line}", message, f"{advice.fix}; or {fix}" if advice else fix, "FZ-D013")
    return problem.with_scoring_fix(f"{advice.scoring_fix}; or {fix}" if advice and advice.scoring_fix else fix)


def invalid_json_line(name: str, line: int, cause: Exception) -> Problem:
    """A line of a JSON Lines file is not valid JSON."""
    message = f"the line is not valid JSON ({short(cause)})"
    return Problem(f"{name} line {line}", message, "write one JSON object per line", "FZ-D014")


def json_element_not_an_object(name: str, element: int) -> Problem:
    """An element of a JSON array is a list or a single value."""
    message = f"element {element} of the JSON array is not an object"
    return Problem(name, message, 'write an object per row, like [{"id": 1}, {"id": 2}]', "FZ-D319")


def json_key_repeated(name: str, row: int, column: str) -> Problem:
    """A column occurs more than once in a row, so that its value is not known."""
    message = f"the key '{column}' occurs more than once"
    return Problem(f"{name} row {row}", message, "write each key of an object once", "FZ-D321", rows=(row,))


def json_line_not_an_object(name: str, line: int) -> Problem:
    """A line of a JSON Lines file is a list or a single value."""
    fix = 'write one object per line, like {"id": 1}'
    return Problem(f"{name} line {line}", "the line is not a JSON object", fix, "FZ-D015")
