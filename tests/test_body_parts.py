"""A body of very many small parts, such as blank lines, is refused before each of them is read."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from fusionzoo.server import body_parts, chunk_limit
from fusionzoo.server.server_limits import MAX_COLUMNS, MAX_GZIP_MEMBERS, ServerLimits
from serve_helpers import CSV, JSON, JSONL, Server, decode, read_error
from server_process import read_answer, serve
from shop import JobFolder

LIMITS = ServerLimits(max_body_bytes=1_600_000, max_rows=1_000)  # so that a body may have 101,000 lines
HEADER = b"message,country,price,visits\n"
ROW = b"a,de,1,2\n"
OBJECT = b'{"message": "a", "country": "de", "price": 1, "visits": 2}\n'
HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/csv\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Server:
    return Server(max_body_bytes=LIMITS.max_body_bytes, max_rows=LIMITS.max_rows)


class TestLines:
    """Lines may be blank, or part of a text."""

    @pytest.mark.parametrize(
        ("content_type", "rows"),
        [
            (JSONL, OBJECT + b"\n" * 101_000 + OBJECT),
            (JSONL, (OBJECT + b" \r\n" * 50_500) * 2),
            (CSV, HEADER + ROW + b"\n" * 101_000 + ROW),
            (CSV, HEADER + ROW + b"\r" * 101_000 + ROW),
            (CSV, HEADER + b'"' + b"\n" * 101_000 + b'",de,1,2\n'),
            (f"{CSV}; header=absent", b"\n" * 101_000 + ROW),
            ("text/tab-separated-values", (HEADER + ROW).replace(b",", b"\t") + b"\n" * 101_000),
        ],
    )
    @pytest.mark.parametrize("gzipped", [False, True])
    def test_too_many_lines_are_refused_before_one_is_read(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, content_type: str, rows: bytes, gzipped: bool
    ) -> None:
        monkeypatch.setattr("fusionzoo.server.request_rows.PartFile", None)
        encoding = {"Content_Encoding": "gzip"} if gzipped else {}
        error = read_error(server.post(gzip.compress(rows) if gzipped else rows, content_type, **encoding), 413)
        assert (error["code"], "101,000 lines" in error["message"]) == ("FZ-H025", True)

    @pytest.mark.parametrize(
        ("content_type", "rows"),
        [
            (JSONL, OBJECT + b"\r\n" * 100_998 + OBJECT),
            (CSV, HEADER + ROW + b"\r\n" * 100_997 + ROW),
            (CSV, HEADER + b'"' + b"\n" * 100_997 + b'",de,1,2\n' + ROW),
        ],
    )
    def test_as_many_lines_as_allowed_are_read(self, server: Server, content_type: str, rows: bytes) -> None:
        assert len(decode(server.post(rows, content_type))) == 2

    def test_spaces_of_a_json_document_are_no_lines(self, server: Server) -> None:
        assert len(decode(server.post(b"[" + b"\n" * 200_000 + OBJECT + b"]", JSON))) == 1

    @pytest.mark.parametrize("megabytes", [0.1, 1, 25, 100])
    def test_rows_of_one_short_line_are_never_too_many_lines(self, megabytes: float) -> None:
        limits = ServerLimits(max_body_bytes=int(megabytes * 1e6))
        body_parts.check_lines(b"1,2\n" * min(limits.max_rows, limits.max_body_bytes // 4), limits)


class TestColumns:
    """The values of the first line may be the names of columns."""

    @pytest.mark.parametrize("row", [b"," * MAX_COLUMNS, b"a," * MAX_COLUMNS, b"\n\r\n" + b"," * MAX_COLUMNS])
    @pytest.mark.parametrize("parameter", ["", "; header=present", "; header=absent"])
    def test_too_many_columns_are_refused_before_they_are_named(
        self, server: Server, monkeypatch: pytest.MonkeyPatch, row: bytes, parameter: str
    ) -> None:
        monkeypatch.setattr("fusionzoo.server.request_rows.list_columns", None)
        error = read_error(server.post(row + b"\n" + ROW, f"{CSV}{parameter}"), 413)
        assert (error["code"], "100,000 columns" in error["message"]) == ("FZ-H025", True)

    def test_many_unknown_columns_are_ignored(self, server: Server) -> None:
        names = HEADER[:-1] + b"".join(b",c%d" % i for i in range(50_000))
        assert len(decode(server.post(names + b"\n" + ROW[:-1] + b"," * 50_000 + b"\n", CSV))) == 1

    def test_delimiters_of_later_lines_are_not_counted(self) -> None:
        body_parts.check_columns(HEADER + b"," * 2 * MAX_COLUMNS, ",")


class TestGzipMembers:
    """Compressed files can be appended to each other."""

    def test_too_many_members_are_refused_before_one_is_decompressed(
        self, server: Server, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = gzip.compress(HEADER + ROW) + gzip.compress(b"") * MAX_GZIP_MEMBERS
        monkeypatch.setattr("fusionzoo.server.request_rows.gzip", None)
        error = read_error(server.post(body, CSV, Content_Encoding="gzip"), 413)
        assert (error["code"], "10,000 gzip members" in error["message"]) == ("FZ-H025", True)

    def test_several_members_are_one_body(self, server: Server) -> None:
        body = gzip.compress(HEADER) + gzip.compress(ROW) * 20
        assert len(decode(server.post(body, CSV, Content_Encoding="gzip"))) == 20


class TestChunks:
    """A body in chunks, each of which may have one byte."""

    def test_more_chunks_than_allowed_are_not_read(self, trained_job: JobFolder, tmp_path: Path) -> None:
        limits = ServerLimits(max_body_bytes=51_200, max_rows=100)
        assert limits.max_chunks == 300
        header, row = b"1d\r\n%s\r\n" % HEADER, b"9\r\n%s\r\n" % ROW
        bodies = {200: header + row * 100, 413: header + b"1\r\n\n\r\n" * 300 + row}
        options = ("--workers", "1", "--max-rows", "100", "--max-body-mb", "0.0512")
        with serve(trained_job.model, tmp_path, *options) as running:
            for status, body in bodies.items():
                with running.connect(CHUNKED + body + b"0\r\n\r\n") as connection:
                    answer = read_answer(connection)
                assert answer.startswith(b"HTTP/1.1 %d " % status), answer[:200]
        assert b"FZ-H025" in answer
        assert b"300 chunks" in answer

    def test_a_body_with_a_length_is_not_changed(self) -> None:
        chunk_limit.limit_chunks(None, 1)
        body = type("Body", (), {"reader": (reader := object())})()
        chunk_limit.limit_chunks(body, 1)
        assert body.reader is reader
