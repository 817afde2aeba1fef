"""A process holds a bounded number of bytes of requests and responses; small requests never wait for large ones."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server import application
from fusionzoo.server.memory_budget import UNCOUNTED_BYTES, MemoryBudget
from fusionzoo.server.server_limits import ServerLimits
from serve_helpers import CSV, Server, decode, read_error

LARGE = 10 * UNCOUNTED_BYTES
HEADER, ROW = b"message,country,price,visits\n", b"a,de,1,2\n"


def wait_until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def start(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


class TestBudget:
    """Memory is reserved in the order of the requests."""

    def test_a_request_waits_until_there_is_room(self) -> None:
        budget, done = MemoryBudget(LARGE, 60, 2), threading.Event()
        held = budget.reserve(LARGE - 1)

        def wait() -> None:
            with budget.reserve(LARGE):
                done.set()

        thread = start(wait)
        wait_until(lambda: len(budget._waiting) == 1)
        assert not done.is_set()
        held.release()
        thread.join(30)
        assert done.is_set()
        assert budget.held_bytes == 0

    def test_a_request_that_waits_too_long_is_refused(self) -> None:
        budget = MemoryBudget(LARGE, 0.01, 2)
        with budget.reserve(LARGE):
            with pytest.raises(RequestError) as caught:
                budget.reserve(UNCOUNTED_BYTES + 1)
            assert (caught.value.code, caught.value.status, caught.value.retry_after) == ("FZ-H026", 503, 1)
        assert budget.reserve(LARGE).counted == LARGE

    def test_requests_that_find_too_many_waiting_are_refused_at_once(self) -> None:
        budget = MemoryBudget(LARGE, 60, 1)
        with budget.reserve(LARGE) as held:
            thread = start(lambda: budget.reserve(LARGE).release())
            wait_until(lambda: len(budget._waiting) == 1)
            with pytest.raises(RequestError, match="as many bytes"):
                budget.reserve(LARGE)
            held.release()
            thread.join(30)

    def test_a_later_request_that_would_fit_does_not_overtake(self) -> None:
        budget, order = MemoryBudget(LARGE, 60, 5), list[str]()

        def reserve(name: str, size: int) -> None:
            with budget.reserve(size):
                order.append(name)
                time.sleep(0.01)

        with budget.reserve(LARGE // 2):
            threads = [start(lambda: reserve("large", LARGE))]
            wait_until(lambda: len(budget._waiting) == 1)
            threads.append(start(lambda: reserve("fits", UNCOUNTED_BYTES + 1)))
            wait_until(lambda: len(budget._waiting) == 2)
        for thread in threads:
            thread.join(30)
        assert order == ["large", "fits"]

    def test_small_requests_never_wait(self) -> None:
        budget = MemoryBudget(LARGE, 0, 0)
        with budget.hold(10 * LARGE):
            assert budget.reserve(UNCOUNTED_BYTES).counted == 0
        assert budget.held_bytes == 0

    def test_a_request_that_is_larger_than_the_budget_is_possible_alone(self) -> None:
        budget = MemoryBudget(LARGE, 0.01, 2)
        with budget.reserve(100 * LARGE):
            assert budget.held_bytes == LARGE

    def test_what_exists_is_held_without_waiting(self) -> None:
        budget = MemoryBudget(LARGE, 0.01, 2)
        with budget.reserve(LARGE), budget.hold(LARGE) as response:
            assert budget.held_bytes == 2 * LARGE
            response.resize(LARGE // 2)
            assert budget.held_bytes == 1.5 * LARGE
        assert budget.held_bytes == 0


class TestServer:
    """The server reads a body when there is room for it."""

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
        budgets: list[MemoryBudget] = []

        def make(*arguments: int) -> MemoryBudget:
            budgets.append(MemoryBudget(*arguments))
            return budgets[-1]

        monkeypatch.setattr(application, "MemoryBudget", make)
        server = Server(queue_seconds=0.05, max_body_bytes=LARGE, max_held_bytes=LARGE)
        (self.budget,) = budgets
        yield server
        assert self.budget.held_bytes == 0, "everything is released when a response has been sent"

    def test_a_large_request_is_refused_without_reading_it_and_a_small_one_is_answered(self, server: Server) -> None:
        rows = HEADER + ROW * 10_000
        with self.budget.reserve(LARGE):
            response = server.post(rows)
            error = read_error(response, 503)
            assert (error["code"], response.headers["Retry-After"]) == ("FZ-H026", "1")
            assert len(decode(server.post(HEADER + ROW * 9))) == 9
        with server.post(rows) as response:
            assert len(decode(response)) == 10_000

    def test_a_body_without_a_length_counts_when_it_is_no_longer_small(self, server: Server) -> None:
        def post(rows: int) -> int:
            environ = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
            body = io.BytesIO(HEADER + ROW * rows)
            with server.client.post(
                "/invocations", input_stream=body, content_type=CSV, environ_overrides=environ
            ) as response:
                return response.status_code

        with self.budget.reserve(LARGE):
            assert post(9) == 200
            assert post(10_000) == 503
        assert post(10_000) == 200
        assert post(100_000) == 413

    def test_a_response_is_held_until_it_has_been_sent(self, server: Server) -> None:
        with server.client.post(
            "/invocations", data=HEADER + ROW * 5_000, content_type=CSV, buffered=False
        ) as response:
            assert self.budget.held_bytes == response.content_length > UNCOUNTED_BYTES
            assert server.post(HEADER + ROW * 60_000).status_code == 503

    @pytest.mark.parametrize("rows", [b"x" * (UNCOUNTED_BYTES + 1), HEADER + b"1\n" * UNCOUNTED_BYTES])
    def test_a_request_with_an_error_holds_nothing(self, server: Server, rows: bytes) -> None:
        assert server.post(rows).status_code == 400

    def test_a_body_that_is_too_large_never_waits(self, server: Server) -> None:
        with self.budget.reserve(LARGE):
            assert read_error(server.post(b"x" * (LARGE + 1)), 413)["code"] == "FZ-H007"


def test_the_budget_is_enough_for_one_request() -> None:
    assert ServerLimits(max_held_bytes=1, max_body_bytes=5).memory_bytes == 5
    assert ServerLimits().memory_bytes == ServerLimits().max_held_bytes
