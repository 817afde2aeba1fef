"""From the body of a request to rows, with the code that reads the files of training jobs."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from fusionzoo import errors
from fusionzoo.data.data_settings import DataSettings
from fusionzoo.data.reading.channel import Channel
from fusionzoo.data.reading.delimited import get_delimiter, list_columns
from fusionzoo.data.reading.delimited_advice import DELIMITERS
from fusionzoo.data.reading.formats import DELIMITED
from fusionzoo.data.reading.options import ReadOptions
from fusionzoo.data.reading.part_file import PartFile
from fusionzoo.data.reading.rows import Rows
from fusionzoo.errors.request_errors import RequestError, RequestProblem
from fusionzoo.errors.wording import keep_letters
from fusionzoo.server.body_parts import check_columns, check_gzip_members, check_lines
from fusionzoo.server.json_forms import check_delimited, check_form, has_no_objects
from fusionzoo.server.json_rows import parse_rows
from fusionzoo.server.media_types import InputType
from fusionzoo.server.server_limits import ServerLimits
from fusionzoo.serving.row_files import select_model_columns
from fusionzoo.serving.row_source import ModelColumns

SOURCE = "request"  # in messages, where files have their names
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # such as PowerShell writes
PARQUET_EXPANSION = 10  # values that occur often are stored once
TOO_LARGE = ("FZ-D316", "FZ-D317", "FZ-D318")  # the limits of files, which `ServerLimits` sets here


@dataclass(frozen=True)
class RequestRows:
    """The rows of a request.

    Attributes:
        blocks: all rows, in their order.
        id_name: the id column; None if they have none.
        has_header: whether they are delimited and have a header.
        format: the format of the body, as `InputType` has it.
    """

    blocks: list[Rows]
    id_name: str | None
    has_header: bool
    format: str

    def __len__(self) -> int:
        return sum(map(len, self.blocks))


class RequestReader:
    """Reads the rows of requests for one model."""

    def __init__(self, settings: DataSettings, limits: ServerLimits) -> None:
        self._columns, self._limits = ModelColumns.of(settings), limits
        self._options = replace(ReadOptions.for_scoring(settings), max_row_bytes=limits.max_body_bytes)

    @errors.scoring_fixes()
    def read(self, body: bytes, kind: InputType) -> RequestRows:
        """Return the rows.

        Raises:
            RequestError: the body is damaged, has no rows or too many, or rows are not as the format requires.
            errors.DataError: a column of the model does not exist, or the format of the body is another one.
        """
        if kind.gzipped:
            check_gzip_members(body)
            body = self._decompress(body)
        if not body or (not body.strip() and not self._is_single_column(kind)):
            raise RequestError.no_rows()
        if kind.format != "parquet" and body.startswith(UTF16_MARKS):
            raise RequestError.charset("utf-16")
        if kind.format == "jsonl" or kind.format in DELIMITED:
            check_lines(body, self._limits)
        rejected = _RejectedRows()
        is_parquet = kind.format == "parquet"
        options = replace(
            self._options,
            max_file_bytes=self._limits.max_body_bytes * (PARQUET_EXPANSION if is_parquet else 1),
            reject_row=rejected.add,
        )
        file_format = "jsonl" if kind.format == "json" else kind.format
        file = PartFile(Path(SOURCE), SOURCE, file_format, False, options, content=body)
        try:
            if file_format == "jsonl":
                file = parse_rows(file, kind.format == "json", self._limits.max_rows)
                features = self._columns.features
                check_form(file, features, self._has_known_name, is_document=kind.format == "json")
                rejected.lack_names = has_no_objects(file)
            elif kind.format in DELIMITED:
                file = self._choose_header(file, kind.header)
            channel, id_name = select_model_columns(Channel(SOURCE, (file,), ()), self._columns)
            blocks = list(self._check_rows(channel))
        except errors.DataError as error:
            if any(problem.code in TOO_LARGE for problem in error.problems):
                raise RequestError.body_too_large(self._limits.max_body_bytes) from error
            raise
        rejected.raise_if_any()
        if not blocks:
            raise RequestError.no_rows()
        has_header = kind.format in DELIMITED and file.options.header is True
        return RequestRows(blocks, id_name, has_header, kind.format)

    def _choose_header(self, file: PartFile, header: bool | None) -> PartFile:
        """Return the file with the names of its columns if it has no header, or as one with a header.

        Without a statement of the client, the first line is a header if one of its values is the name of a column that
        the model knows, or differs from it in case or punctuation only. Columns without names, `csv_header: false`,
        have numbers as names, which a row may hold, too: then the client has to state that there is a header.
        """
        check_delimited(file.content or b"", self._has_known_name)
        check_columns(file.content or b"", get_delimiter(file))
        has_names = not file.options.is_numbered
        with_header = replace(file, options=replace(file.options, header=True))
        try:
            with file.convert_read_errors():
                first = list_columns(with_header.without_rejected_rows(), ())
        except errors.DataError:
            if has_names:  # quotes around names, between other delimiters, cannot be parsed
                self._check_delimiter(_first_line(file), get_delimiter(file), is_row=False)
            raise
        known = first is not None and header is None and has_names and self._has_known_name(first)
        if header is True or known:
            return with_header
        width = 1 if first is None else len(first)  # blank lines are rows of a single column
        names = self._name_columns(width)
        if has_names:
            line = get_delimiter(file).join(first or [])
            self._check_delimiter(line, get_delimiter(file), is_row=names is not None)
        if names is None:
            raise RequestError.headerless_width(width, self._columns.features, self._columns.id_name)
        return replace(file, options=replace(file.options, header=names, checks_first_row=False))

    def _check_delimiter(self, line: str, delimiter: str, *, is_row: bool) -> None:
        """Raise RequestError if the first line is a header that has another delimiter.

        It is one if most columns of the model are among its names; of a line that may be a row, all have to be names.
        """
        for other in DELIMITERS:
            names = [name.strip(" \"'") for name in line.split(other)]
            known = [name for name in names if self._has_known_name([name])]
            is_header = len(known) == len(names) if is_row else 2 * len(known) > len(self._columns.features)
            if other != delimiter and len(names) > 1 and is_header:
                raise RequestError.other_delimiter(names, other, delimiter)

    def _is_single_column(self, kind: InputType) -> bool:
        """Return whether rows of this format may be blank lines, each a missing value of the only column."""
        return kind.format in DELIMITED and kind.header is not True and len(self._columns.features) == 1

    def _name_columns(self, width: int) -> tuple[str, ...] | None:
        """Return the names for rows of this width: those of the training files if it is theirs, or those of the model.

        Return None if rows have another width.

        The training files have names or numbers if they had no header (`csv_header`). Their rows may lack the labels.
        """
        features, id_name = self._columns.features, self._columns.id_name
        names = self._options.choose_names(width)
        if len(names) == width and {*features, *((id_name,) if id_name else ())} <= set(names):
            return names
        names = (id_name, *features) if id_name and width == len(features) + 1 else tuple(features)
        return names if len(names) == width else None

    def _has_known_name(self, names: Iterable[str]) -> bool:
        known = set(self._columns.known) | {letters for name in self._columns.known if (letters := keep_letters(name))}
        return any(name in known or keep_letters(name) in known for name in names)

    def _check_rows(self, channel: Channel) -> Iterator[Rows]:
        """Yield the blocks of a channel.

        Raises:
            RequestError: there are too many rows, or a text is too long.
        """
        count = 0
        for rows in channel:
            count += len(rows)
            if count > self._limits.max_rows:
                raise RequestError.too_many_rows(self._limits.max_rows)
            for name in self._columns.features:
                self._check_lengths(rows, name)
            yield rows

    def _check_lengths(self, rows: Rows, name: str) -> None:
        values = rows.columns[name]
        if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
            return
        lengths = pc.fill_null(pc.utf8_length(values), 0)
        longest = pc.max(lengths).as_py() or 0
        if longest > self._limits.max_text_length:
            row = rows.row_number(pc.index(lengths, longest).as_py())
            raise RequestError.text_too_long(row, name, longest, self._limits.max_text_length)

    def _decompress(self, body: bytes) -> bytes:
        limit = self._limits.max_body_bytes
        try:
            with gzip.GzipFile(fileobj=io.BytesIO(body)) as stream:
                content = stream.read(limit + 1)
        except (OSError, EOFError, zlib.error) as cause:
            raise RequestError.incomplete_body(cause) from cause
        if len(content) > limit:
            raise RequestError.body_too_large(limit)
        return content


def _first_line(file: PartFile) -> str:
    first = (file.content or b"").lstrip(b"\xef\xbb\xbf\r\n").split(b"\n", 1)[0]
    return first.decode("utf-8", "replace").rstrip("\r")


class _RejectedRows:
    """The rows that are not as their format requires.

    Attributes:
        lack_names: whether all rows are JSON without the names of columns.
    """

    def __init__(self) -> None:
        self.lack_names = False
        self._count, self._problems = 0, list[RequestProblem]()

    def add(self, name: str, row: int, column: str, reason: str) -> None:
        self._count += 1
        if len(self._problems) < errors.MAX_LISTED_PROBLEMS:
            self._problems.append(RequestProblem(row, column or None, reason))

    def raise_if_any(self) -> None:
        if self._count and self.lack_names:
            raise RequestError.json_columns("values without the names of their columns", self._problems)
        if self._count:
            raise RequestError.invalid_rows(self._count, self._problems)
