"""What one client sends costs the server little: it parses no more rows than allowed, and keeps files to open."""

from __future__ import annotations

import gzip
import json
import logging
import resource
import sys
import time
from contextlib import ExitStack
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.data.reading import json_objects
from fusionzoo.data.reading.json_objects import RepeatedKeys, make_object
from fusionzoo.errors.wording import MAX_COMPARED_NAMES
from fusionzoo.server import json_rows, serving_worker
from fusionzoo.server.server_limits import MAX_CONNECTIONS, THREADS
from serve_helpers import CSV, JSON, JSONL, Server, decode, read_error
from server_process import RunningServer, read_answer, run_command
from shop import JobFolder

GOOD = '{"message": "a", "country": "de", "price": 1, "visits": 2}'
MAX_ROWS = 10
FORMS = {
    "list": (JSON, "[", ", ", "]"),
    "instances": (JSON, '{"instances": [', ", ", "]}"),
    "inputs after a signature": (JSON, '\ufeff{"signature_name": "x",\n "inputs" : [ ', "\n, ", " ] } "),
    "lines": (JSONL, "", "\n", "\n"),
}
forms = pytest.mark.parametrize("form", FORMS)


@pytest.fixture(scope="module")
def server() -> Server:
    return Server(max_rows=MAX_ROWS)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of keys of each object that is parsed."""
    counts: list[int] = []

    def count(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        counts.append(len(pairs))
        return make_object(pairs)

    for module in (json_objects, json_rows):
        monkeypatch.setattr(module, "make_object", count)
    monkeypatch.setattr(json_objects, "_DECODER", json.JSONDecoder(object_pairs_hook=count))
    return counts


def write(form: str, rows: list[str]) -> tuple[bytes, str]:
    content_type, start, separator, end = FORMS[form]
    return (start + separator.join(rows) + end).encode(), content_type


class TestRows:
    """The rows of JSON are counted while they are parsed, once."""

    @forms
    @pytest.mark.parametrize("row", ["{}", GOOD, '{"a": 1, "a": 1}', "3"])
    @pytest.mark.parametrize("gzipped", [True, False])
    def test_no_row_is_parsed_after_the_one_too_many(
        self, server: Server, parsed: list[int], form: str, row: str, gzipped: bool
    ) -> None:
        body, content_type = write(form, [row] * 5_000 + ["not JSON"])
        encoding = {"Content_Encoding": "gzip"} if gzipped else {}
        error = read_error(server.post(gzip.compress(body) if gzipped else body, content_type, **encoding), 413)
        assert (error["code"], "10 rows" in error["message"]) == ("FZ-H008", True)
        assert len(parsed) <= MAX_ROWS + 1

    @forms
    @pytest.mark.parametrize("rows", [MAX_ROWS, 1])
    def test_each_row_is_parsed_once(self, server: Server, parsed: list[int], form: str, rows: int) -> None:
        """Also if there are no ids, so that their column is searched in all rows."""
        body, content_type = write(form, [GOOD] * rows)
        assert len(decode(server.post(body, content_type, Accept=JSON))) == rows
        assert parsed.count(4) == rows
        assert len(parsed) <= rows + 1, "the document is an object, too"

    @forms
    def test_blank_lines_and_spaces_are_not_rows(self, server: Server, form: str) -> None:
        body, content_type = write(form, [f"  {GOOD}  \n\n \t"] * MAX_ROWS)
        assert len(decode(server.post(body, content_type, Accept=JSON))) == MAX_ROWS

    def test_an_array_in_another_column_has_any_number_of_elements(self, server: Server) -> None:
        row = f'{GOOD[:-1]}, "other": {[1] * 1000}, "more": [{",".join(["{}"] * 1000)}]}}'
        for body in (row, f"[{row}]", f'{{"instances": [{row}]}}', f'{{"instances": {row}}}'):
            assert len(decode(server.post(body, JSON))) == 1

    def test_a_wrapper_after_many_keys_is_refused(self, server: Server) -> None:
        keys = ", ".join(f'"k{i}": 1' for i in range(100))
        error = read_error(server.post(f'{{{keys}, "instances": [{GOOD}]}}', JSON), 400)
        assert error["code"] == "FZ-H011"

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (f'{{"instances": [{GOOD}], "instances": [{GOOD}]}}', "FZ-H011"),
            (f'{{"instances": [{GOOD}]}} x', "FZ-H010"),
            (f'{{"instances": [{GOOD},]}}', "FZ-H010"),
            (f'{{"instances": [{GOOD} {GOOD}]}}', "FZ-H010"),
            (f'{{"instances": [{GOOD}]', "FZ-H010"),
            (f'{{"instances": [{GOOD}],}}', "FZ-H010"),
            (f'{{"instances": [\x0b{GOOD}]}}', "FZ-H010"),
            ('{"instances"}', "FZ-H010"),
            ('{"instances": ', "FZ-H010"),
            ("{1: 2}", "FZ-H010"),
            ('{"instances": [[]]}', "FZ-H034"),
            ('{"instances": []}', "FZ-H012"),
        ],
    )
    def test_a_document_that_is_not_valid_has_its_error(self, server: Server, body: str, code: str) -> None:
        error = read_error(server.post(body, JSON), 400)
        assert error["code"] == code
        if code == "FZ-H010":
            with pytest.raises(json.JSONDecodeError) as caught:
                json.loads(body)
            assert str(caught.value) in error["message"]


class TestKeys:
    """The keys of JSON that the model does not know."""

    @forms
    def test_thousands_of_unknown_keys_are_allowed(self, server: Server, form: str) -> None:
        keys = ", ".join(f'"unknown_{i}": {i}' for i in range(30_000))
        body, content_type = write(form, [f"{{{keys}, {GOOD[1:]}"] * 2)
        assert len(decode(server.post(body, content_type, Accept=JSON))) == 2

    @pytest.fixture
    def compared(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The characters of the names with which each absent column is compared."""
        counts: list[int] = []

        def count(name: str, names: dict[str, str], n: int) -> list[str]:
            counts.append(len(names))
            return get_close_matches(name, names, n)

        monkeypatch.setattr("fusionzoo.errors.wording.get_close_matches", count)
        return counts

    @pytest.mark.parametrize("form", [*FORMS, "csv"])
    def test_an_absent_column_is_not_compared_with_all_of_many_keys(
        self, server: Server, compared: list[int], form: str
    ) -> None:
        keys = ["message", "prize", *(f"column {i}" for i in range(30_000))]
        if form == "csv":
            body, content_type = f"{','.join(keys)}\n".encode(), f"{CSV}; header=present"
        else:
            body, content_type = write(form, [json.dumps(dict.fromkeys(keys))] * 2)
        error = read_error(server.post(body, content_type), 422)
        price = next(problem for problem in error["problems"] if problem["column"] == "price")
        assert "'prize'" in price["fix"]
        assert len(error["problems"]) == 3
        assert compared == [MAX_COMPARED_NAMES] * 3

    def test_an_absent_column_is_not_compared_with_all_of_a_long_key(self, server: Server, compared: list[int]) -> None:
        error = read_error(server.post(f'[{{"{"a_" * 1_000_000}": 1}}]', JSON), 422)
        assert "the columns are 'a_a_" in error["problems"][0]["fix"]
        assert set(compared) == {0}

    def test_a_column_after_many_keys_of_other_rows_is_found(self, server: Server) -> None:
        first = json.dumps({f"unknown_{i}": None for i in range(30_000)})
        assert len(decode(server.post(f"[{first}, {GOOD}]", JSON))) == 2

    def test_repeated_keys_are_counted_in_one_pass(self) -> None:
        comparisons = []

        class Key(str):
            __slots__ = ()
            __hash__ = str.__hash__

            def __eq__(self, other: object) -> bool:
                comparisons.append(other)
                return str.__eq__(self, other)

        record = make_object([(Key(f"c{i % 500}"), 1) for i in range(1_000)])
        assert isinstance(record, RepeatedKeys)
        comparisons.clear()
        assert record.find([f"d{i}" for i in range(100)]) is None
        assert record.find(["d", "c7"]) == "c7"
        assert len(comparisons) < 10_000


class TestOpenFiles:
    """A process accepts as many connections as it can open files for."""

    @pytest.fixture
    def limits(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The soft and the hard limit of open files, 40 of which are open."""
        limits = [1024, 1024]
        monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
        monkeypatch.setattr(resource, "setrlimit", lambda _, new: limits.__setitem__(slice(None), new))
        monkeypatch.setattr(serving_worker, "_count_open_files", lambda: 40)
        return limits

    @pytest.mark.parametrize(
        ("soft", "hard"), [(1024, 4096), (256, 524_288), (1024, resource.RLIM_INFINITY), (1024, 2000)]
    )
    def test_the_soft_limit_is_raised(
        self, limits: list[int], caplog: pytest.LogCaptureFixture, soft: int, hard: int
    ) -> None:
        limits[:] = soft, hard
        assert serving_worker.choose_connections() == MAX_CONNECTIONS
        assert limits == [MAX_CONNECTIONS + THREADS + 40 + serving_worker.RESERVED_FILES, hard]
        assert caplog.text == ""

    @pytest.mark.parametrize("soft", [4096, resource.RLIM_INFINITY])
    def test_a_limit_that_suffices_is_not_changed(self, limits: list[int], soft: int) -> None:
        limits[:] = soft, resource.RLIM_INFINITY
        assert serving_worker.choose_connections() == MAX_CONNECTIONS
        assert limits == [soft, resource.RLIM_INFINITY]

    @pytest.mark.parametrize("hard", [1300, 1024, 700, 300, 120, 50])
    def test_a_low_hard_limit_bounds_the_connections_and_is_logged(
        self, limits: list[int], caplog: pytest.LogCaptureFixture, hard: int
    ) -> None:
        limits[:] = hard // 2, hard
        connections = serving_worker.choose_connections()
        assert limits == [hard, hard]
        waiting = min(THREADS, connections)  # threads with a file of their own
        assert connections + waiting + 40 + serving_worker.RESERVED_FILES <= hard or connections == 1
        assert f"accepts {connections} connections instead of {MAX_CONNECTIONS}" in caplog.text
        assert f"{hard} files" in caplog.text

    def test_a_system_that_refuses_to_raise_the_limit(
        self, limits: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def refuse(*_: Any) -> None:
            raise ValueError("current limit exceeds maximum limit")

        caplog.set_level(logging.WARNING)
        limits[:] = 1024, resource.RLIM_INFINITY
        monkeypatch.setattr(resource, "setrlimit", refuse)
        assert serving_worker.choose_connections() == 1024 - 40 - serving_worker.RESERVED_FILES - THREADS
        assert "1024 files" in caplog.text

    @pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
    @pytest.mark.parametrize("limit", ["-n 400", "-Sn 400"])
    def test_more_connections_than_files_end_no_process(
        self, trained_job: JobFolder, tmp_path: Path, limit: str
    ) -> None:
        serve = "-m fusionzoo.cli serve --port 0 --workers 1 --model"
        command = f"ulimit {limit} && exec {sys.executable} {serve} {trained_job.model}"
        with run_command(["bash", "-c", command], tmp_path) as running, ExitStack() as stack:
            worker = find_worker(running)
            begun = stack.enter_context(running.connect(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"))
            for _ in range(500):
                stack.enter_context(running.connect(b""))
            wait_until_accepted(worker)
            begun.sendall(b"\r\n")
            assert read_answer(begun).startswith(b"HTTP/1.1 200")
            assert find_worker(running) == worker
            log = running.log.read_text()
        assert "Exception in worker" not in log
        assert ("connections instead of" in log) == (limit == "-n 400")


def find_worker(server: RunningServer) -> int:
    """Return the process that serves, the only child of the server."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    return int(children.split()[0])


def wait_until_accepted(worker: int) -> None:
    """Wait until the process accepts no further connections, because all are accepted or it has too many."""
    counts: list[int] = []
    while len(counts) < 4 or len(set(counts[-4:])) > 1:
        folder = Path(f"/proc/{worker}/fd")
        counts.append(len(list(folder.iterdir())) if folder.exists() else -1)
        time.sleep(0.2)
