"""Requests to the server that cannot be answered with predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fusionzoo.errors.base import ZooError
from fusionzoo.errors.score_errors import ScoresError
from fusionzoo.errors.wording import list_names, pluralize, printable, quote_name, quoted, short


@dataclass(frozen=True)
class RequestProblem:
    """What is wrong with a request: row, which starts at 1 and does not count a header, and column, if it has them."""

    row: int | None
    column: str | None
    message: str
    fix: str = ""
    code: str = ""


ROW_FORMS = 'send {"instances": [{"column": value}]}, with the columns of the model as the keys.'
NOT_PARSED: Mapping[int, str] = {
    400: "its first line, a header or its Transfer-Encoding is malformed",
    414: "its address is too long",
    417: "its header Expect has an unknown value",
    431: "its headers are too long or too many",
    501: "its Transfer-Encoding is not supported",
}
"""What is wrong with bytes that are not a request of HTTP/1.0 or HTTP/1.1, by status."""

PART_FIXES: Mapping[str, str] = {
    "lines": "leave out blank lines, or divide the rows over several requests",
    "columns": "send the columns of the model only",
    "chunks": "send larger chunks, or a Content-Length instead of chunks",
    "gzip members": "compress the body as one gzip member",
}
"""What the client can do about a body of too many parts, by the kind of part."""


class RequestError(ZooError):
    """A request cannot be answered with predictions.

    Args:
        message: what is wrong.
        fix: what the client can do about it.
        code: a stable identifier.
        status: the status code of the response.
        problems: the rows that the error is about.
        retry_after: seconds after which the client may try again; None if that does not help.
    """

    def __init__(
        self,
        message: str,
        fix: str,
        code: str,
        *,
        status: int,
        problems: Sequence[RequestProblem] = (),
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message, fix, code)
        self.status, self.problems, self.retry_after = status, tuple(problems), retry_after

    @classmethod
    def no_content_type(cls, known: Sequence[str]) -> RequestError:
        """The request does not say in which format its rows are."""
        message = "The request has no Content-Type, so the format of its rows is not known."
        return cls(message, f"send one of these: {', '.join(known)}.", "FZ-H001", status=415)

    @classmethod
    def content_type(cls, given: str, known: Sequence[str]) -> RequestError:
        """The rows are in a format that the server does not read."""
        message = f"Content-Type {quote_name(given)} is not supported."
        return cls(message, f"send one of these: {', '.join(known)}.", "FZ-H002", status=415)

    @classmethod
    def charset(cls, given: str) -> RequestError:
        """The text of the request is not UTF-8."""
        message = f"The charset {quote_name(given)} of the request is not supported."
        return cls(message, "encode the rows as UTF-8.", "FZ-H003", status=415)

    @classmethod
    def encoding(cls, given: str) -> RequestError:
        """The body is compressed in a way that the server does not know."""
        message = f"Content-Encoding {quote_name(given)} is not supported."
        return cls(message, "compress the body with gzip, or not at all.", "FZ-H004", status=415)

    @classmethod
    def header_parameter(cls, name: str, given: str) -> RequestError:
        """The parameter `header` of a media type says neither that there is a header nor that there is none."""
        message = f"{name} has the parameter header={printable(given)[:40]}."
        return cls(message, "write header=present or header=absent, or leave it out.", "FZ-H005", status=400)

    @classmethod
    def not_acceptable(cls, accept: str, known: Sequence[str]) -> RequestError:
        """The client accepts none of the formats that predictions have."""
        message = f"Accept {quote_name(accept)} allows no format of predictions."
        return cls(message, f"accept one of these, in UTF-8: {', '.join(known)}.", "FZ-H006", status=406)

    @classmethod
    def body_too_large(cls, max_bytes: int) -> RequestError:
        """The body, after decompression, has more bytes than `fusionzoo serve --max-body-mb` allows."""
        message = f"The request has more than {max_bytes / 1e6:g} MB of rows."
        fix = "divide the rows over several requests, or start the server with a higher --max-body-mb."
        return cls(message, fix, "FZ-H007", status=413)

    @classmethod
    def too_many_rows(cls, max_rows: int) -> RequestError:
        """The request has more rows than `fusionzoo serve --max-rows` allows."""
        message = f"The request has more than {pluralize(max_rows, 'row')}."
        fix = "divide the rows over several requests, or start the server with a higher --max-rows."
        return cls(message, fix, "FZ-H008", status=413)

    @classmethod
    def text_too_long(cls, row: int, column: str, length: int, max_length: int) -> RequestError:
        """A text has more characters than `fusionzoo serve --max-text-length` allows."""
        message = f"Row {row}, column '{column}': the text has {length:,} characters, more than {max_length:,}."
        fix = "shorten the text, or start the server with a higher --max-text-length."
        return cls(message, fix, "FZ-H009", status=413, problems=[RequestProblem(row, column, "the text is too long")])

    @classmethod
    def invalid_json(cls, cause: Exception) -> RequestError:
        """The body is not one JSON document."""
        message = f"The body is not a JSON document ({short(cause)})."
        fix = "correct it; for one JSON object per line, send Content-Type: application/jsonlines."
        return cls(message, fix, "FZ-H010", status=400)

    @classmethod
    def json_without_rows(cls, found: str) -> RequestError:
        """The JSON document has none of the forms that rows can have."""
        message = f"The JSON document has no rows: {printable(found)}."
        fix = 'send {"instances": [{"column": value}]}, {"inputs": [...]}, a list of objects, or one object.'
        return cls(message, fix, "FZ-H011", status=400)

    @classmethod
    def no_rows(cls) -> RequestError:
        """The body is empty, or has a header only."""
        return cls("The request has no rows.", "send at least one row.", "FZ-H012", status=400)

    @classmethod
    def invalid_rows(cls, count: int, problems: Sequence[RequestProblem]) -> RequestError:
        """Rows are not as their format requires, such as a line with another number of values than the header."""
        first = problems[0]
        message = f"{pluralize(count, 'row')} cannot be read; row {first.row}: {first.message}."
        return cls(message, "correct these rows.", "FZ-H013", status=400, problems=problems)

    @classmethod
    def incomplete_body(cls, cause: Exception) -> RequestError:
        """The body ended early, or is not what Content-Length, Transfer-Encoding or Content-Encoding say."""
        message = f"The body of the request is incomplete or damaged ({short(cause)})."
        return cls(message, "send the request again.", "FZ-H014", status=400)

    @classmethod
    def slow_client(cls, seconds: float) -> RequestError:
        """The client did not send the whole request in the time that `fusionzoo serve --request-seconds` allows."""
        message = f"The request did not arrive within {seconds:g} seconds."
        fix = "send it faster or in parts, or start the server with a higher --request-seconds."
        return cls(message, fix, "FZ-H015", status=408)

    @classmethod
    def headerless_width(cls, width: int, columns: Sequence[str], id_name: str | None) -> RequestError:
        """The first line has no column name of the model, and as a row it has another number of values."""
        ids = f", with '{id_name}' before them if you like" if id_name else ""
        names = list_names([quoted([column]) for column in columns])
        message = (
            f"The first line has {pluralize(width, 'value')}, and none is the name of a column of the model. A row "
            f"without a header has {pluralize(len(columns), 'value')}: {names}{ids}."
        )
        return cls(message, "send a header, or these columns in this order.", "FZ-H016", status=400)

    @classmethod
    def other_delimiter(cls, names: Sequence[str], used: str, expected: str) -> RequestError:
        """The first line is a header whose names are divided by another delimiter than in the training files."""
        shown = list_names([quoted([name]) for name in names], 200)
        message = (
            f"The first line has the column names {shown} if it is split at {used!r}, but "
            f"rows are split at {expected!r}, the csv_delimiter of the training."
        )
        return cls(message, f"write {expected!r} between the values, or send JSON.", "FZ-H028", status=400)

    @classmethod
    def unwritable_values(cls, format: str, cause: Exception) -> RequestError:
        """The format of the response cannot hold an id, such as bytes that are not text in CSV."""
        message = f"The predictions cannot be written as {format} ({short(cause)})."
        fix = "send ids that are text or numbers, or accept application/jsonlines."
        return cls(message, fix, "FZ-H024", status=422)

    @classmethod
    def too_many_parts(cls, parts: str, max_parts: int) -> RequestError:
        """The body has so many lines, columns, chunks or gzip members that reading them would take too long."""
        message = f"The body of the request has more than {max_parts:,} {parts}."
        return cls(message, f"{PART_FIXES[parts]}.", "FZ-H025", status=413)

    @classmethod
    def no_memory_left(cls, seconds: int) -> RequestError:
        """The process holds as many bytes of requests and responses as `fusionzoo serve --max-held-mb` allows."""
        message = "The server holds as many bytes of requests and responses as it may."
        fix = f"try again in {seconds} s, or divide the rows over several requests."
        return cls(message, fix, "FZ-H026", status=503, retry_after=seconds)

    @classmethod
    def overloaded(cls, seconds: int) -> RequestError:
        """All slots of `fusionzoo serve --concurrency` were taken during `--queue-seconds`, or too many wait."""
        message = "The server is scoring as many requests as it may."
        return cls(message, f"try again in {seconds} s.", "FZ-H017", status=503, retry_after=seconds)

    @classmethod
    def loading(cls, seconds: int) -> RequestError:
        """The server has just started, and has not scored a row yet."""
        return cls("The model is loading.", f"try again in {seconds} s.", "FZ-H018", status=503, retry_after=seconds)

    @classmethod
    def not_working(cls, cause: Exception, seconds: int) -> RequestError:
        """The model could not score a row of missing values when the server started."""
        message = f"The model does not work ({short(cause)})."
        fix = "see the log of the server; give it a model folder that a job of fusionzoo wrote."
        return cls(message, fix, "FZ-H019", status=503, retry_after=seconds)

    @classmethod
    def http(cls, status: int, reason: str, allowed: Sequence[str]) -> RequestError:
        """The path does not exist, the path does not allow the method, or the request is no valid HTTP."""
        fix = f"send one of these: {', '.join(allowed)}."
        return cls(f"{reason}.", fix, "FZ-H020", status=status)

    @classmethod
    def malformed(cls, status: int) -> RequestError:
        """The bytes are not a request of HTTP/1.0 or HTTP/1.1, or its first line or headers are too long."""
        message = f"The request is not valid HTTP: {NOT_PARSED[status]}."
        fix = "send it with an HTTP library, with short headers, and with the rows in its body."
        return cls(message, fix, "FZ-H022", status=status)

    @classmethod
    def not_finite(cls, cause: ScoresError) -> RequestError:
        """The model computes NaN or infinity for some of the rows."""
        problems = [RequestProblem(row, None, "the prediction is NaN or infinite") for row in cause.rows]
        message, fix = "The model cannot compute a prediction for some rows.", "leave these rows out."
        return cls(message, fix, "FZ-H027", status=500, problems=problems)

    @classmethod
    def internal(cls) -> RequestError:
        """The server has a bug."""
        message = "The server could not compute the predictions."
        fix = "find the request id of this response in the log of the server, which has the cause."
        return cls(message, fix, "FZ-H021", status=500)

    @classmethod
    def no_thread_left(cls, seconds: int) -> RequestError:
        """Other requests, which may arrive slowly, occupy all threads of a process that may wait."""
        message = "The server has as many unfinished requests as it may."
        return cls(message, f"try again in {seconds} s.", "FZ-H029", status=503, retry_after=seconds)

    @classmethod
    def no_host(cls) -> RequestError:
        """A request of HTTP/1.1 does not say for which host it is."""
        message = "The request is not valid HTTP: it has no header Host."
        return cls(message, "send it with an HTTP library.", "FZ-H030", status=400)

    @classmethod
    def several_lines(cls) -> RequestError:
        """A line break in an id or in the name of a class would make several lines of one row of CSV."""
        message = "The predictions cannot be written as CSV with a line per row: an id or a class has a line break."
        return cls(message, "accept application/json or application/jsonlines.", "FZ-H031", status=422)

    @classmethod
    def json_as_delimited(cls) -> RequestError:
        """Content-Type names a delimited format, but the body is JSON."""
        fix = "send Content-Type: application/json, or application/jsonlines for one object per line."
        return cls("The body is JSON, but its Content-Type is that of delimited rows.", fix, "FZ-H032", status=400)

    @classmethod
    def json_encoded_twice(cls) -> RequestError:
        """The JSON document is a text that contains the JSON of the rows."""
        message = "The JSON document is a text that contains JSON: the rows were encoded twice."
        fix = "encode them once: leave json.dumps out if the client encodes them, as JSONSerializer of SageMaker does."
        return cls(message, fix, "FZ-H033", status=400)

    @classmethod
    def json_columns(cls, found: str, problems: Sequence[RequestProblem] = ()) -> RequestError:
        """JSON has the rows by columns, as pandas' to_json() writes them by default, or without names."""
        message = f"The JSON has {found}, not an object for each row."
        fix = f'{ROW_FORMS} pandas writes them with to_json(orient="records"), and JSON Lines with lines=True, too.'
        return cls(message, fix, "FZ-H034", status=400, problems=problems)

    @classmethod
    def json_wrapper(cls, name: str) -> RequestError:
        """The first JSON object has no column of the model, but a key that seems to hold the rows."""
        message = f"The JSON has no column of the model, but the key {quote_name(name)}."
        return cls(message, f"{ROW_FORMS} In JSON Lines, each line is such an object.", "FZ-H035", status=400)

    @classmethod
    def json_document_as_lines(cls, name: str) -> RequestError:
        """A JSON document with all rows was sent as JSON Lines."""
        message = f"The first line has {quote_name(name)}, as a JSON document with all rows has, not a row."
        return cls(message, "send it with Content-Type: application/json.", "FZ-H036", status=400)


class ServerAddressError(ZooError):
    """The server cannot listen at the address of `fusionzoo serve --host` and `--port`."""

    @classmethod
    def of(cls, host: str, port: int, cause: OSError) -> ServerAddressError:
        """Another program uses the port, or the address is none of this machine."""
        reason = (cause.strerror or str(cause)).partition(" (while")[0]  # Python repeats the address
        message = f"The server cannot listen at {quote_name(host)}, port {port} ({short(reason)})."
        return cls(message, "stop the program that uses the port, or choose another --port or --host.", "FZ-H023")
