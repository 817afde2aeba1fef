"""Wait until all hosts of a job have started."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

from torch.distributed import TCPStore  # type: ignore[attr-defined]

from fusionzoo import errors
from fusionzoo.sagemaker.hosts import Hosts
from fusionzoo.training.distributed.heartbeat import SECONDS_TO_LOG_WAIT

log = logging.getLogger(__name__)

MAX_HOST_WAIT_SECONDS = 600.0  # containers do not start at the same time
SECONDS_BETWEEN_CHECKS = 0.5
MAX_CONNECT_SECONDS = 5.0


@contextmanager
def wait_for_hosts(hosts: Hosts, port: int) -> Iterator[None]:
    """Wait until every host has come here, and keep the store in which they registered for the duration of the block.

    torchrun's own rendezvous waits without a log line, and signals do not interrupt it. In the block, it finds that
    all hosts are there. On the first host, it uses the same store, which is why `port` has to be torchrun's.

    Raises:
        errors.ProcessesError: a host is not there after ten minutes; names it.
        RuntimeError: the first host cannot listen on the port, or the other hosts lose it.
    """
    deadline = time.monotonic() + MAX_HOST_WAIT_SECONDS
    first, is_first = hosts.names[0], hosts.current == hosts.names[0]
    _wait(
        lambda: [name for name in hosts.names if not _can_resolve(name)], deadline, errors.ProcessesError.unknown_host
    )
    if not is_first:
        _wait(lambda: [] if _can_connect(first, port) else [first], deadline, errors.ProcessesError.no_host)
    timeout = timedelta(seconds=MAX_CONNECT_SECONDS)
    store = TCPStore(first, port, None, is_first, timeout, wait_for_workers=False, multi_tenant=True)
    store.set(_key(hosts.current), "")
    _wait(
        lambda: [name for name in hosts.names if not store.check([_key(name)])], deadline, errors.ProcessesError.no_host
    )
    yield


def _wait(
    find_absent: Callable[[], Sequence[str]], deadline: float, fail: Callable[[str, float], errors.ProcessesError]
) -> None:
    """Call a function until it finds no absent host. Log the first one that it finds, and fail after the deadline."""
    began, is_logged = time.monotonic(), False
    while absent := find_absent():
        now = time.monotonic()
        if now > deadline:
            raise fail(absent[0], MAX_HOST_WAIT_SECONDS)
        if now > began + SECONDS_TO_LOG_WAIT and not is_logged:
            is_logged = True
            log.info("Waiting %.0f s at most for host '%s'", deadline - now, "', '".join(absent))
        time.sleep(SECONDS_BETWEEN_CHECKS)


def _key(name: str) -> str:
    return f"fusionzoo/host/{name}"


def _can_resolve(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror:
        return False
    return True


def _can_connect(name: str, port: int) -> bool:
    try:
        socket.create_connection((name, port), MAX_CONNECT_SECONDS).close()
    except OSError:
        return False
    return True
