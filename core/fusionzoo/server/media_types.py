"""Which format a request has (Content-Type), and which one its response has (Accept)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from werkzeug.http import parse_list_header, parse_options_header

from fusionzoo.errors.request_errors import RequestError

INPUT_TYPES: Mapping[str, str] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "text/tab-separated-values": "tsv",
    "application/json": "json",
    "application/jsonlines": "jsonl",
    "application/jsonl": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/parquet": "parquet",
}
"""The formats of rows by media type."""
OUTPUT_TYPES: Mapping[str, str] = {
    "application/json": "json",
    "application/jsonlines": "jsonl",
    "application/jsonl": "jsonl",
    "application/x-jsonlines": "jsonl",
    "application/x-ndjson": "jsonl",
    "application/ndjson": "jsonl",
    "text/csv": "csv",
    "application/csv": "csv",
}
"""The formats of predictions by media type."""
DEFAULT_OUTPUT: Mapping[str, str] = {
    "csv": "text/csv",
    "tsv": "text/csv",
    "json": "application/json",
    "jsonl": "application/jsonlines",
    "parquet": "application/json",
}
"""The media type of the predictions by the format of the rows, for a client that accepts everything."""
MEDIA_RANGE = re.compile(r"\*/\*|[^*/\s]+/(\*|[^*/\s]+)")
QUALITY = re.compile(r"[01]\.?[0-9]*|\.[0-9]+")  # some clients leave out digits that RFC 9110 requires
CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
SHOWN_INPUTS = ("text/csv", "application/json", "application/jsonlines", "application/x-parquet")
SHOWN_OUTPUTS = ("application/json", "application/jsonlines", "text/csv")


@dataclass(frozen=True)
class InputType:
    """The format of the rows of a request; `header` says whether delimited rows have one, None if that is not known."""

    format: str
    gzipped: bool = False
    header: bool | None = None


@dataclass(frozen=True)
class OutputType:
    """The format and media type of predictions; `header` says whether CSV has one, None if the client did not say."""

    format: str
    media_type: str
    header: bool | None = None


def parse_input_type(content_type: str | None, content_encoding: str | None) -> InputType:
    """Return the format of a request.

    Raises:
        RequestError: there is no such format, charset or compression.
    """
    media_type, parameters = parse_options_header(content_type)
    media_type = media_type.lower()
    if not media_type:
        raise RequestError.no_content_type(SHOWN_INPUTS)
    if media_type not in INPUT_TYPES:
        raise RequestError.content_type(media_type, SHOWN_INPUTS)
    if (charset := parameters.get("charset", "utf-8")).lower() not in CHARSETS:
        raise RequestError.charset(charset)
    encoding = (content_encoding or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise RequestError.encoding(encoding)
    header = _parse_header("Content-Type", parameters)
    return InputType(INPUT_TYPES[media_type], encoding != "identity", header)


def choose_output_type(accept: str | None, input_format: str) -> OutputType:
    """Return the format of predictions that the client prefers; among equals that of its rows.

    Raises:
        RequestError: the client accepts none of them.
    """
    default = DEFAULT_OUTPUT[input_format]
    ranges = sorted(_parse_ranges(accept or ""), key=lambda found: found.specificity, reverse=True)
    if not ranges:
        return OutputType(OUTPUT_TYPES[default], default)
    best, best_quality = None, 0.0
    for media_type in dict.fromkeys([default, *(r.media_type for r in ranges), *OUTPUT_TYPES]):
        closest = next((r for r in ranges if r.matches(media_type)), None)
        if media_type in OUTPUT_TYPES and closest is not None and closest.quality > best_quality:
            header = _parse_header("Accept", closest.parameters)
            best, best_quality = OutputType(OUTPUT_TYPES[media_type], media_type, header), closest.quality
    if best is None:
        raise RequestError.not_acceptable(accept or "", SHOWN_OUTPUTS)
    return best


@dataclass(frozen=True)
class _Range:
    """A range of Accept, such as text/*;q=0.5."""

    media_type: str
    quality: float
    parameters: Mapping[str, str]

    @property
    def specificity(self) -> tuple[int, int]:
        level = 0 if self.media_type == "*/*" else 1 if self.media_type.endswith("/*") else 2
        return level, len(self.parameters)

    def matches(self, media_type: str) -> bool:
        if (charset := self.parameters.get("charset", "utf-8").lower()) not in CHARSETS and charset != "*":
            return False
        if self.media_type in ("*/*", media_type):
            return True
        return self.media_type.endswith("/*") and media_type.startswith(self.media_type[:-1])


def _parse_ranges(accept: str) -> Iterator[_Range]:
    """Yield the ranges that are well-formed: RFC 9110, section 12.5.1, lets a server disregard Accept.

    `*` is `*/*`, as in the default of Java's HttpURLConnection.
    """
    for text in parse_list_header(accept):
        media_type, parameters = parse_options_header(text)
        media_type = "*/*" if media_type == "*" else media_type.lower()
        quality = parameters.pop("q", "1").strip()
        if MEDIA_RANGE.fullmatch(media_type) and QUALITY.fullmatch(quality) and float(quality) <= 1:
            yield _Range(media_type, float(quality), parameters)


def _parse_header(name: str, parameters: Mapping[str, str]) -> bool | None:
    """Return whether the parameter `header` of RFC 4180 says that there is a header; None without it."""
    value = parameters.get("header")
    if value is None:
        return None
    if value.lower() not in ("present", "absent"):
        raise RequestError.header_parameter(name, value)
    return value.lower() == "present"
