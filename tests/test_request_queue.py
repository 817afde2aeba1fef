"""Requests that wait are answered together, without an effect on each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from fusionzoo.errors.request_errors import RequestError
from fusionzoo.server import request_queue
from fusionzoo.server.request_queue import RequestQueue
from fusionzoo.server.server_limits import MAX_CONCURRENCY, SPARE_THREADS, THREADS, ServerLimits


class Gate:
    """Answers each group once the test lets it, and records the groups. An answer is the request times ten."""

    def __init__(self, places: int = 1, queue_seconds: float = 30.0, max_waiting: int = 100) -> None:
        self.groups: list[list[int]] = []
        self.work: Callable[[Sequence[int]], Sequence[Any]] = lambda group: [10 * request for request in group]
        self._begun, self._open = threading.Semaphore(0), threading.Semaphore(0)
        self.queue = RequestQueue[int, Any](self._answer_all, places, queue_seconds, max_waiting)
        self.pool = ThreadPoolExecutor(20)

    def _answer_all(self, group: Sequence[int]) -> Sequence[Any]:
        self.groups.append(list(group))
        self._begun.release()
        assert self._open.acquire(timeout=30)
        return self.work(group)

    def send(self, *requests: int, is_small: bool = True) -> list[Any]:
        """Put requests in the queue one after the other, and return their futures."""
        futures = []
        for request in requests:
            before = len(self.queue._waiting) + len(self.groups)
            futures.append(self.pool.submit(self.queue.answer, request, is_small))
            deadline = time.monotonic() + 30
            while len(self.queue._waiting) + len(self.groups) == before and time.monotonic() < deadline:
                time.sleep(0.001)
        return futures

    def finish(self, groups: int) -> None:
        """Let this number of groups finish."""
        for _ in range(groups):
            assert self._begun.acquire(timeout=30)
            self._open.release()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()
    monkeypatch.setattr(request_queue, "GROUP_SECONDS", 1e6)
    return gate


def test_small_requests_that_wait_are_answered_together_in_their_order(gate: Gate) -> None:
    futures = gate.send(1, 2, 3, 4)
    gate.finish(2)
    assert [future.result(30) for future in futures] == [10, 20, 30, 40]
    assert gate.groups == [[1], [2, 3, 4]], "the first one does not wait for others"


def test_large_requests_are_answered_alone_and_in_their_order(gate: Gate) -> None:
    first = gate.send(1)
    large = gate.send(2, 3, is_small=False)
    small = gate.send(4, 5)
    gate.finish(4)
    assert [future.result(30) for future in (*first, *large, *small)] == [10, 20, 30, 40, 50]
    assert gate.groups[0] == [1]
    assert sorted(gate.groups[1:]) == [[2], [3], [4, 5]]
    assert gate.groups.index([2]) < gate.groups.index([3])


@pytest.mark.parametrize("places", [1, 2])
def test_small_requests_do_not_wait_for_large_ones(places: int) -> None:
    gate = Gate(places)
    large = gate.send(*range(places + 1), is_small=False)
    small = gate.send(10, 11)
    assert gate.groups == [*([i] for i in range(places)), [10]], "one more place, for a small request only"
    gate.finish(places + 3)
    assert [future.result(30) for future in (*large, *small)] == [*range(0, 10 * places + 1, 10), 100, 110]


def test_small_requests_have_no_additional_place_while_one_of_them_has_a_place() -> None:
    gate = Gate(places=2)
    futures = [*gate.send(1), *gate.send(2, is_small=False), *gate.send(3)]
    assert gate.groups == [[1], [2]]
    gate.finish(3)
    assert [future.result(30) for future in futures] == [10, 20, 30]


def test_a_small_request_is_not_refused_because_large_ones_wait() -> None:
    gate = Gate(max_waiting=1)
    large = gate.send(1, 2, is_small=False)
    small = gate.send(3)
    for is_small in (True, False):
        with pytest.raises(RequestError) as refused:
            gate.queue.answer(4, is_small)
        assert refused.value.status == 503
    gate.finish(3)
    assert [future.result(30) for future in (*large, *small)] == [10, 20, 30]


def test_a_group_is_bounded(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "MAX_GROUP", 2)
    futures = gate.send(1, 2, 3, 4)
    gate.finish(3)
    assert [future.result(30) for future in futures] == [10, 20, 30, 40]
    assert gate.groups == [[1], [2, 3], [4]]


def test_requests_that_take_long_are_answered_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_queue, "NEW_WEIGHT", 1.0)
    slow = Gate()
    clock = iter([0.0, 5.0, 5.0, 10.0, 10.0, 15.0])
    monkeypatch.setattr(time, "thread_time", lambda: next(clock))
    futures = slow.send(1, 2, 3)
    slow.finish(3)
    assert [future.result(30) for future in futures] == [10, 20, 30]
    assert slow.groups == [[1], [2], [3]]


def test_the_error_of_a_request_is_raised_for_its_client_only(gate: Gate) -> None:
    gate.work = lambda group: [ValueError("two") if request == 2 else 10 * request for request in group]
    futures = gate.send(1, 2, 3)
    gate.finish(2)
    assert [futures[i].result(30) for i in (0, 2)] == [10, 30]
    with pytest.raises(ValueError, match="two"):
        futures[1].result(30)


def test_a_failure_of_the_whole_group_reaches_each_client_and_frees_the_place(gate: Gate) -> None:
    def fail(group: Sequence[int]) -> Sequence[Any]:
        raise OSError("no memory")

    gate.work = fail
    futures = gate.send(1, 2, 3)
    gate.finish(2)
    for future in futures:
        with pytest.raises(OSError, match="no memory"):
            future.result(30)
    gate.work = lambda group: [10 * request for request in group]
    (again,) = gate.send(4)
    gate.finish(1)
    assert again.result(30) == 40


class Panic(BaseException):
    """Stands for a panic of Rust code, which is not an Exception."""


@pytest.mark.parametrize(("failure", "message"), [(Panic("in Rust"), "Panic: in Rust"), (SystemExit(3), "3")])
def test_what_is_not_an_exception_reaches_each_client_and_frees_the_place(
    gate: Gate, failure: BaseException, message: str
) -> None:
    def fail(group: Sequence[int]) -> Sequence[Any]:
        raise failure

    gate.work = fail
    futures = gate.send(1, 2, 3)
    gate.finish(2)
    errors = [future.exception(30) for future in futures]
    assert message in str(errors[0])
    assert None not in errors
    gate.work = lambda group: [10 * request for request in group]
    (again,) = gate.send(4)
    gate.finish(1)
    assert again.result(30) == 40


def test_no_more_groups_than_places_are_answered_at_the_same_time(gate: Gate) -> None:
    two = Gate(places=2)
    futures = two.send(1, 2, 3, 4, is_small=False)
    assert two.groups == [[1], [2]]
    two.finish(4)
    assert [future.result(30) for future in futures] == [10, 20, 30, 40]


def test_a_request_that_waits_too_long_leaves_the_queue_with_status_503() -> None:
    gate = Gate(queue_seconds=0.05)
    (first,) = gate.send(1)
    with pytest.raises(RequestError) as refused:
        gate.queue.answer(2, True)
    assert (refused.value.status, refused.value.retry_after) == (503, request_queue.RETRY_SECONDS)
    gate.finish(1)
    assert first.result(30) == 10, "a request that is being answered is not refused"
    assert gate.groups == [[1]]
    (next_one,) = gate.send(3)
    gate.finish(1)
    assert next_one.result(30) == 30


def test_a_request_is_refused_at_once_if_too_many_wait() -> None:
    gate = Gate(max_waiting=2)
    futures = gate.send(1, 2, 3)
    with pytest.raises(RequestError) as refused:
        gate.queue.answer(4, True)
    assert refused.value.status == 503
    gate.finish(3)
    assert [future.result(30) for future in futures] == [10, 20, 30]
    assert gate.groups == [[1], [2], [3]]


@pytest.mark.parametrize("concurrency", [1, 2, MAX_CONCURRENCY])
def test_threads_remain_for_other_paths_if_as_many_requests_wait_as_may(concurrency: int) -> None:
    limits = ServerLimits(concurrency=concurrency)
    assert limits.max_waiting >= 0
    assert THREADS - limits.max_waiting - limits.concurrency == SPARE_THREADS >= 16
