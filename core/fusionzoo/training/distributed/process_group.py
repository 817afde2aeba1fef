"""The processes of a job: how they find each other, what they share, and how one that dies takes the others with it."""

from __future__ import annotations

import logging
import os
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Self, TypeVar

import torch
from torch import distributed as dist
from torch import nn
from torch.distributed import PrefixStore, rendezvous  # type: ignore[attr-defined]

from fusionzoo import errors
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

T = TypeVar("T")
TORCHRUN_VARIABLES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
)  # of torchrun
COLLECTIVE_TIMEOUT = timedelta(
    hours=2
)  # in which a rank waits for others, who may be at work; dead ones are found sooner
HEARTBEAT_SECONDS = 1.0
MAX_SILENCE_SECONDS = 30.0  # after which a process counts as dead
SECONDS_TO_REPORT = 5.0  # for the process that failed to say so, before another guesses
SECONDS_TO_RELEASE = 0.2
CAUSE = "cause"  # why the job ends; empty while it does not


@dataclass(frozen=True)
class World:
    """Which of a job's processes this one is; by default the only one."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def from_environment(cls, environ: Mapping[str, str]) -> Self | None:
        """As torchrun's variables say; None where they are not all there: nobody has started this process as one."""
        if not all(environ.get(name) for name in TORCHRUN_VARIABLES):
            return None
        rank, size, local_rank, local_size = (int(environ[name]) for name in TORCHRUN_VARIABLES[:4])
        return cls(rank, size, local_rank, local_size)

    @property
    def is_first(self) -> bool:
        """Whether this process writes and logs for all."""
        return self.rank == 0

    @property
    def hosts(self) -> int:
        return self.size // self.local_size


SINGLE_PROCESS = World()


@contextmanager
def process_group(
    world: World, interface: str | None, termination: Termination, fail: Callable[[str], None]
) -> Iterator[None]:
    """In the block, the processes of the job can speak with each other; all of them leave it together.

    Where one fails, or is killed, the others end within a minute, with its cause.

    Args:
        interface: the network interface between hosts, where it is known.
        fail: keeps a cause for the user; called before this process ends without unwinding.

    Raises:
        errors.ProcessLostError: another process failed or has gone; says which, and why where that is known.
    """
    if world.size == 1:
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(world.local_rank)
    _name_interface(interface)
    dist.init_process_group("nccl" if gpu else "gloo", timeout=COLLECTIVE_TIMEOUT)
    watch = _Heartbeat(world, fail)
    try:
        watch.start()
        yield
        dist.barrier()
    except BaseException as error:
        termination.job_ends()  # torchrun sends SIGTERM as soon as it knows of another's end
        raise watch.explained(error) from error
    finally:
        watch.stop()
    # On torch 2.1, Gloo's thread needs the interpreter to let go of the barrier, and destroying waits for that thread
    # without giving the interpreter away: one job in fifteen never ended.
    time.sleep(SECONDS_TO_RELEASE)
    dist.destroy_process_group()


def _name_interface(interface: str | None) -> None:
    """Tell the libraries which network the hosts share, where this machine has it and nobody has said otherwise."""
    if interface is not None and interface in {name for _, name in socket.if_nameindex()}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)


# --- what processes share; of a job with one process, its own


def is_distributed() -> bool:
    """Whether the job has more than one process."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def is_first_process() -> bool:
    """Whether this process is the one that writes and logs for all."""
    return not is_distributed() or dist.get_rank() == 0


def all_gather(value: T) -> list[T]:
    """The value that each process has, in their order."""
    if not is_distributed():
        return [value]
    values: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def any_process(wish: bool) -> bool:
    """Whether any of the processes has this wish."""
    return any(all_gather(wish))


def broadcast_from_first(made: Callable[[], T]) -> T:
    """What the first process makes, for all."""
    if not is_distributed():
        return made()
    values = [made() if dist.get_rank() == 0 else None]
    dist.broadcast_object_list(values)
    found: Any = values[0]
    return found  # type: ignore[no-any-return]


def broadcast_weights(model: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if is_distributed():
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


# --- how a process that dies takes the others with it


class _Heartbeat:
    """Two threads of each process. One says in the job's store that the process lives, and reads what others say; it
    may wait for an answer for as long as it likes. The other judges by what has been heard, and by that alone.

    The connection to the store is their own: the main thread's may be blocked, too.
    """

    def __init__(self, world: World, fail: Callable[[str], None]) -> None:
        self._world, self._fail = world, fail
        self._name = f"process {world.rank} of {world.size} (host {socket.gethostname()}, pid {os.getpid()})"
        store, _, _ = next(rendezvous("env://", timeout=timedelta(minutes=1)))
        self._store = PrefixStore("fusionzoo", store)
        self._store.set(f"name/{world.rank}", self._name)
        self._store.add(f"beat/{world.rank}", 1)
        self._store.compare_set(CAUSE, "", "")
        dist.barrier()  # from here on, every process has a name and a beat
        self._others = [rank for rank in range(world.size) if rank != world.rank]
        names = self._store.multi_get([f"name/{rank}" for rank in self._others])
        self._names = dict(zip(self._others, (name.decode() for name in names), strict=True))
        self._left = threading.Event()
        self._told: str | None = None  # the cause that the process which failed has told
        self._beats: dict[int, bytes] = {}
        self._heard = dict.fromkeys(self._others, time.monotonic())  # when each of them was last known to live
        self._answered = time.monotonic()  # when the store was
        self._threads = [threading.Thread(target=run, daemon=True) for run in (self._talk, self._judge)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._left.set()

    def explained(self, error: BaseException) -> BaseException:
        """The error that ends this process: its own, which the others are told, or what befell another before."""
        if not _is_lost_connection(error):
            told = self._store.compare_set(CAUSE, "", f"{self._name}: {_text(error)}").decode()
            return error if told.startswith(f"{self._name}: ") else errors.ProcessLostError(told)
        until = time.monotonic() + SECONDS_TO_REPORT
        while self._told is None and time.monotonic() < until:
            time.sleep(HEARTBEAT_SECONDS / 4)
        lost = self._lost(SECONDS_TO_REPORT - HEARTBEAT_SECONDS)
        return errors.ProcessLostError(self._told or errors.process_gone(lost, _text(error)))

    def _talk(self) -> None:
        names = [CAUSE, *(f"beat/{rank}" for rank in self._others)]
        while not self._left.wait(HEARTBEAT_SECONDS):
            try:
                self._store.add(f"beat/{self._world.rank}", 1)
                told, *beats = self._store.multi_get(names)
                for rank, beat in zip(self._others, beats, strict=True):
                    if self._beats.get(rank) != beat:
                        self._beats[rank], self._heard[rank] = beat, time.monotonic()
                self._told = told.decode() or None
            except RuntimeError as gone:
                log.debug("the store of the job does not answer: %s", gone)  # `_judge` will see that
                continue
            self._answered = time.monotonic()

    def _judge(self) -> None:
        while not self._left.wait(HEARTBEAT_SECONDS):
            lost = self._lost(MAX_SILENCE_SECONDS)
            cause = self._told or (errors.process_gone(lost, "") if lost else None)
            # The main thread may be about to tell it.
            if cause is not None and not self._left.wait(2 * SECONDS_TO_REPORT):
                self._fail(str(errors.ProcessLostError(cause)))
                sys.stdout.flush()
                os._exit(1)

    def _lost(self, seconds: float) -> list[str]:
        """The processes that have been silent for so long; where the store has, only the one that is nearest to it."""
        now = time.monotonic()
        if now - self._answered >= seconds:
            return [self._names.get(0, f"the store of {self._name}")]
        return [self._names[rank] for rank, heard in self._heard.items() if now - heard >= seconds]


def _is_lost_connection(error: BaseException) -> bool:
    """Whether an error may only tell that another process has gone."""
    if not isinstance(error, RuntimeError):
        return False
    of_torch = type(error).__module__.startswith("torch.distributed")  # their base, DistError, came with torch 2.2
    return of_torch or any(sign in str(error) for sign in ("gloo", "NCCL", "TCPStore"))


def _text(error: BaseException) -> str:
    text = str(error) if isinstance(error, errors.ZooError) else f"{type(error).__name__}: {error}"
    return text[:2000]
