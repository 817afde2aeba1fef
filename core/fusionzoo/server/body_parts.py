"""Bounds on the parts of a body: Python reads lines, names of columns and gzip members one by one.

They are counted before the body is parsed, without parsing it: empty ones cost a client one byte each.
"""

from __future__ import annotations

import re

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server.server_limits import MAX_COLUMNS, MAX_GZIP_MEMBERS, ServerLimits

GZIP_MEMBER = b"\x1f\x8b\x08"  # how a member begins; compressed data has these bytes about once in 16 MB
FIRST_LINE = re.compile(rb"[^\r\n]+")


def check_gzip_members(body: bytes) -> None:
    """Raise RequestError if a compressed body has too many members."""
    if body.count(GZIP_MEMBER) > MAX_GZIP_MEMBERS:
        raise RequestError.too_many_parts("gzip members", MAX_GZIP_MEMBERS)


def check_lines(body: bytes, limits: ServerLimits) -> None:
    """Raise RequestError if a body has too many lines. They may end with a line feed, a carriage return, or both."""
    if len(body) > limits.max_lines:
        ends = body.count(b"\n") + body.count(b"\r") - body.count(b"\r\n")
        if ends > limits.max_lines:
            raise RequestError.too_many_parts("lines", limits.max_lines)


def check_columns(body: bytes, delimiter: str) -> None:
    """Raise RequestError if the first line of delimited rows has too many values."""
    first = FIRST_LINE.search(body)
    if first is not None and body.count(delimiter.encode(), first.start(), first.end()) >= MAX_COLUMNS:
        raise RequestError.too_many_parts("columns", MAX_COLUMNS)
