"""A bound on the chunks of a body: gunicorn reads them one by one, and each may have one byte."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gunicorn.http.body import ChunkedReader

from fusionzoo.errors.request_errors import RequestError


def limit_chunks(body: Any, max_chunks: int) -> None:
    """Let a body of gunicorn raise RequestError when it has too many chunks; other bodies stay as they are."""
    reader = getattr(body, "reader", None)
    if isinstance(reader, ChunkedReader):
        reader.parser = _count_chunks(reader.parser, max_chunks)


def _count_chunks(chunks: Iterator[bytes], max_chunks: int) -> Iterator[bytes]:
    for number, chunk in enumerate(chunks, start=1):
        if number > max_chunks:
            raise RequestError.too_many_parts("chunks", max_chunks)
        yield chunk
