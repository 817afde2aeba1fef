"""Problems of the format of a file: its dialect, quotes, bytes and size."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

from fusionzoo.errors.base import MAX_LISTED_PROBLEMS, Advice, Problem
from fusionzoo.errors.machine_fixes import READ_FIXES
from fusionzoo.errors.wording import list_names, note_lookalikes, pluralize, quoted, short


def merged_rows(name: str, first_line: int, last_line: int, columns: int) -> Problem:
    """A stray quote would join several rows into one value."""
    message = (
        f"a quoted value begins in line {first_line} and ends in line {last_line}, and each of these lines would be a "
        f"row of {columns} columns without it"
    )
    fix = (
        'if quotes are ordinary characters in the file, set csv_quote to ""; otherwise double the stray quote, or '
        "write the data as Parquet or JSON Lines"
    )
    problem = Problem(name, message, fix, "FZ-D301")
    return problem.with_scoring_fix("double the stray quote, or write the data as Parquet or JSON Lines")


def ambiguous_quotes(name: str, first_line: int, second_line: int) -> Problem:
    """A TSV file has values in quotes, and it is not clear whether the quotes belong to the values."""
    message = (
        f"line {second_line} uses quotes to enclose a value, but in line {first_line} the quotes may belong to the "
        "value"
    )
    fix = 'set csv_quote to "\\"" if quotes enclose values, or to "" if they are ordinary characters'
    problem = Problem(name, message, fix, "FZ-D302")
    return problem.with_scoring_fix("write all values without quotes, or write the data as Parquet or JSON Lines")


def unexpected_header(name: str) -> Problem:
    """The setting `csv_header` gives the column names, but the first line of the file holds the same names."""
    message = "the first line is a header, but csv_header gives the column names as if there was none"
    problem = Problem(name, message, "remove csv_header", "FZ-D303")
    return problem.with_scoring_fix("remove the first line: the model was trained on files without a header")


def header_does_not_fit(name: str, missing: Sequence[str], present: Sequence[str], advice: Advice) -> Problem:
    """A delimited file lacks columns because its delimiter, header or encoding is another one.

    Fix: change what the message names, such as csv_delimiter or csv_header; if a trained model scores the file, convert
    the file instead
    """
    lacking = f"{pluralize(len(missing), 'column')} ({list_names(missing)})"
    message = f"the first line lacks {lacking}; it has {list_names(present)}{note_lookalikes(missing, present)}"
    problem = Problem(name, message, advice.fix, "FZ-D304")
    return problem.with_scoring_fix(advice.scoring_fix)


def unreadable_folder(name: str, cause: OSError) -> Problem:
    """A folder or file of a channel does not exist or cannot be read, so its rows would be left out.

    Fix: create it, give the user of the job permission to read it, or remove what prevents that it is read
    """
    if cause.errno in (errno.ENOENT, errno.ENOTDIR):
        fix = "create it there, or correct the path"
    elif cause.errno in (errno.EACCES, errno.EPERM):
        fix = "give the user of the job permission to read it, or remove it"
    else:
        fix = READ_FIXES.get(cause.errno or 0, "correct what the message names, or remove it")
    return Problem(name, f"it cannot be read ({cause.strerror or cause})", fix, "FZ-D305")


def dangling_link(name: str, target: str, cause: OSError) -> Problem:
    """A link in a channel has no target, so the rows of the target would be missing."""
    message = f"it is a link to {target}, which cannot be opened ({cause.strerror or cause})"
    return Problem(name, message, "restore the target of the link, or remove the link", "FZ-D306")


def link_loop(name: str) -> Problem:
    """A link leads to a folder that contains the link."""
    return Problem(name, "it is a link to a folder that contains it", "remove the link", "FZ-D307")


def not_a_regular_file(name: str, kind: str) -> Problem:
    """A pipe, socket or device among the files of a channel: it cannot be read several times."""
    return Problem(name, f"it is {kind}, not a file", "replace it by a file, or remove it", "FZ-D308")


def not_a_folder(name: str, folder: Path) -> Problem:
    """The path of a channel is a file."""
    return Problem(f"channel '{name}'", f"{folder} is not a folder", "put the part files into a folder", "FZ-D309")


def content_contradicts_suffix(name: str, found: str, suffix: str) -> Problem:
    """The first bytes of a file show another format than its suffix."""
    message = f"{found}, although its suffix is {suffix}"
    return Problem(name, message, "rename the file, or write it again in the format of its suffix", "FZ-D310")


def several_channels(split: str, names: Sequence[str]) -> Problem:
    """Two channels have names for the same split."""
    message = f"the channels {quoted(names)} are all names for {split}"
    return Problem(f"channel '{split}'", message, "keep one of them, or join them in one folder", "FZ-D311")


def pipe_mode(name: str, pipe: Path) -> Problem:
    """SageMaker streams the channel once through a named pipe; fusionzoo reads the data more than once."""
    message = f"it is mounted in Pipe mode ({pipe}), which can be read only once; training reads the data several times"
    return Problem(f"channel '{name}'", message, "set the input mode of the channel to File or FastFile", "FZ-D312")


def text_not_utf8(name: str, cause: Exception) -> Problem:
    """A value of a file is not UTF-8."""
    return Problem(name, f"a text is not UTF-8 ({short(cause)})", "save the file as UTF-8", "FZ-D313")


def invalid_json_array(name: str, element: int, cause: str) -> Problem:
    """A file that begins with "[" is not a JSON array of objects."""
    message = f"the file is not a JSON array of objects ({cause} at element {element})"
    return Problem(name, message, "write one JSON object per line, or one array of objects", "FZ-D314")


def json_not_rows(name: str) -> Problem:
    """A JSON object that holds whole columns, as pandas' to_json() writes it by default."""
    message = "the file holds one JSON object for all rows, as pandas' to_json() writes it by default"
    return Problem(name, message, 'write it with to_json(path, orient="records", lines=True)', "FZ-D315")


def json_rows_in_array(name: str, key: str) -> Problem:
    """A JSON object that holds the rows in an array, such as a response or a request, or that describes other files."""
    message = f"the file holds one JSON object, with an array of objects in '{key}', instead of rows"
    fix = "write the objects of the array as the file, one per line, if they are the rows; otherwise remove the file"
    return Problem(name, message, fix, "FZ-D322")


def repeated_header(name: str, lines: Sequence[int]) -> Problem:
    """Rows of a delimited file repeat the names of its columns, because files with headers were joined."""
    shown = ", ".join(f"line {line:,}" for line in lines[:MAX_LISTED_PROBLEMS])
    more = f" and {len(lines) - MAX_LISTED_PROBLEMS:,} more" if len(lines) > MAX_LISTED_PROBLEMS else ""
    message = f"{pluralize(len(lines), 'row')} with the names of the columns instead of values: {shown}{more}"
    fix = "remove these lines; files with headers need not be joined, because a folder may have several"
    return Problem(name, message, fix, "FZ-D323")


def file_too_large(name: str, max_bytes: float) -> Problem:
    """A file, after decompression, has more bytes than `max_file_gb` allows."""
    message = f"the file has more than {max_bytes / 1e9:g} GB of data"
    problem = Problem(name, message, "divide the file, or raise max_file_gb", "FZ-D316")
    return problem.with_scoring_fix("divide the file")


def suspicious_compression(name: str, stored_bytes: int, max_ratio: float) -> Problem:
    """A file expands so far beyond its stored size that it is damaged or malicious."""
    message = f"the data of the file is more than {max_ratio:g} times its {stored_bytes:,} stored bytes"
    fix = "check how the file was created; if it is correct, raise max_expansion"
    problem = Problem(name, message, fix, "FZ-D317")
    return problem.with_scoring_fix("check how the file was created; if it is correct, write it without compression")


def row_too_long(where: str, max_bytes: int) -> Problem:
    """A row has more bytes than `max_row_mb` allows; it may be a quote or an object that never ends."""
    message = f"the row is longer than {max_bytes / 1e6:g} MB"
    fix = "check that quotes and brackets are closed and that each row has its own line; if so, raise max_row_mb"
    problem = Problem(where, message, fix, "FZ-D318")
    return problem.with_scoring_fix("check that quotes and brackets are closed and that each row has its own line")


def too_many_blank_lines(name: str, line: int, limit: int) -> Problem:
    """A file contains so many blank lines that it was filled with line ends; reading them would take minutes."""
    message = f"more than {limit:,} blank lines follow each other"
    return Problem(f"{name} line {line:,}", message, "write the file again without them", "FZ-D320")
