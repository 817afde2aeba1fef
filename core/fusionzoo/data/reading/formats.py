"""The table of file formats. This is the only list of them: a new format is one module and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fusionzoo.data.reading import delimited, json_lines, parquet
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors.base import Advice


@dataclass(frozen=True)
class FileFormat:
    """How files of one format are recognized and read.

    `list_columns(file, columns)` returns the columns that the file has, or None if it has no rows. It may stop reading
    once it has seen all of `columns`. `read_rows(file, columns)` yields blocks of rows. `advise(file, columns)` returns
    how to fix a file that lacks some of `columns`, or None.
    """

    suffixes: tuple[str, ...]
    list_columns: Callable[[PartFile, Sequence[str]], list[str] | None]
    read_rows: Callable[[PartFile, Sequence[str]], Iterator[Rows]]
    advise: Callable[[PartFile, Sequence[str]], Advice | None] = lambda _file, _columns: None


FORMATS: Mapping[str, FileFormat] = {
    "csv": FileFormat((".csv",), delimited.list_columns, delimited.read_rows, delimited.advise),
    "tsv": FileFormat((".tsv",), delimited.list_columns, delimited.read_rows, delimited.advise),
    "parquet": FileFormat((".parquet", ".pq"), parquet.list_columns, parquet.read_rows),
    "jsonl": FileFormat((".jsonl", ".ndjson", ".json"), json_lines.list_columns, json_lines.read_rows),
}
DELIMITED = ("csv", "tsv")


def format_from_suffix(suffix: str) -> str | None:
    """Return the name of the format with this suffix, such as ".csv"; None if there is none."""
    return next((name for name, file_format in FORMATS.items() if suffix in file_format.suffixes), None)


def known_suffixes() -> list[str]:
    """Return the suffixes of all formats, sorted."""
    return sorted(suffix for file_format in FORMATS.values() for suffix in file_format.suffixes)
