"""The server on a machine that refuses threads, or whose standard output or temporary folders cannot be written."""

from __future__ import annotations

import errno
import io
import json
import logging
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from fusionzoo import errors
from fusionzoo.data.text.text_tokenizer import TextTokenizer
from fusionzoo.server import access_log, gunicorn_server
from fusionzoo.server.loading_responder import answer_while_loading, open_listener
from fusionzoo.server.thread_pool import RequestThreads
from serve_helpers import Server


def refuse_threads(monkeypatch: pytest.MonkeyPatch, allowed: int) -> None:
    """Let the system refuse each further thread after so many."""
    start, started = threading.Thread.start, list[threading.Thread]()

    def start_or_refuse(thread: threading.Thread) -> None:
        if len(started) == allowed:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_or_refuse)


class TestThreads:
    """Threads count for the limit on processes of a user or a container."""

    def test_requests_wait_for_the_existing_threads(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        refuse_threads(monkeypatch, 2)
        begun, proceed = threading.Semaphore(0), threading.Event()

        def work(number: int) -> int:
            begun.release()
            assert proceed.wait(30)
            return number

        with RequestThreads(max_workers=9) as pool:
            futures = [pool.submit(work, number) for number in range(20)]
            assert begun.acquire(timeout=30)
            assert begun.acquire(timeout=30)
            proceed.set()
            assert [future.result(30) for future in futures] == list(range(20))
        (record,) = caplog.records
        assert "2 threads instead of 9" in record.getMessage()

    def test_a_process_without_any_thread_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        refuse_threads(monkeypatch, 0)
        with RequestThreads(max_workers=9) as pool, pytest.raises(RuntimeError, match="new thread"):
            pool.submit(int)

    @pytest.mark.parametrize("allowed", [0, 3])
    def test_a_model_is_loaded_with_fewer_threads_that_answer(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, allowed: int
    ) -> None:
        before = threading.active_count()
        refuse_threads(monkeypatch, allowed)
        with open_listener("127.0.0.1", 0) as listener:
            with answer_while_loading(listener):
                assert threading.active_count() == before + allowed
                if allowed:
                    with socket.create_connection(listener.getsockname(), timeout=30) as connection:
                        connection.sendall(b"GET /ping HTTP/1.1\r\n\r\n")
                        assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
            assert threading.active_count() == before
        assert f"{allowed} threads instead of 16" in caplog.text

    def test_the_tokenizer_has_its_threads_before_the_first_request(self, monkeypatch: pytest.MonkeyPatch) -> None:
        encode, encoded = TextTokenizer.encode, list[str]()

        def record(tokenizer: TextTokenizer, texts: Sequence[str]) -> Any:
            encoded.extend(texts)
            return encode(tokenizer, texts)

        monkeypatch.setattr(TextTokenizer, "encode", record)
        Server()
        assert any(encoded), "a text that is not empty"


class TestAccessLog:
    """A line that cannot be written is lost, and the request is answered."""

    @pytest.fixture(autouse=True)
    def _restored_loggers(self) -> Iterator[None]:
        loggers = [logging.getLogger("fusionzoo"), access_log.access_log]
        before = [(logger.handlers, logger.level, logger.propagate) for logger in loggers]
        yield
        for logger, (handlers, level, propagate) in zip(loggers, before, strict=True):
            logger.handlers, logger.level, logger.propagate = handlers, level, propagate

    def test_only_the_first_failure_is_reported(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        class FullDisk(io.StringIO):
            def flush(self) -> None:
                raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(sys, "stdout", FullDisk())
        access_log.configure_logs()
        for number in range(3):
            access_log.log_request(logging.INFO, status=number)
        (line,) = capsys.readouterr().err.splitlines()
        assert "The access log cannot be written to standard output ([Errno 28] No space left on device)." in line

    def test_a_line_has_no_line_break_of_a_client(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        access_log.configure_logs()
        access_log.log_request(logging.INFO, path='/a\n{"status": 200}\r\x00\x85\u2028')
        (line,) = capsys.readouterr().out.splitlines()
        assert json.loads(line)["path"] == '/a\n{"status": 200}\r\x00\x85\u2028'


def test_a_machine_without_a_temporary_folder_has_an_error_with_a_fix(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: Any) -> str:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr(gunicorn_server, "MEMORY_FOLDER", str(tmp_path / "absent"))
    monkeypatch.setattr(tempfile, "gettempdir", fail)
    with pytest.raises(errors.OutputError, match="no folder for temporary files") as caught:
        gunicorn_server.find_temporary_folder()
    assert "TMPDIR" in str(caught.value)
