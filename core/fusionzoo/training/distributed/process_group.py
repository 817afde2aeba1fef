"""Join the process group of a job, and leave it together with all other processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import distributed as dist

from fusionzoo import errors
from fusionzoo.training.distributed.heartbeat import Heartbeat
from fusionzoo.training.distributed.world import World
from fusionzoo.training.termination import Termination

# A rank may wait this long for ranks that are still working. The heartbeat detects dead ranks much sooner.
COLLECTIVE_TIMEOUT = timedelta(hours=2)
SECONDS_BEFORE_DESTROY = 0.2


@contextmanager
def join_process_group(
    world: World, interface: str | None, termination: Termination, write_cause: Callable[[str], None]
) -> Iterator[None]:
    """Connect this process to the other processes of the job for the duration of the block.

    If one process fails or is killed, the others end within a minute and report its cause.

    Args:
        interface: the network interface that connects the hosts, if known.
        write_cause: stores a cause for the user; called before this process exits without unwinding the stack.

    Raises:
        errors.ProcessesError: the processes cannot connect to each other, or one of them did not start.
        errors.ProcessLostError: another process failed or disappeared; names the process and, if known, the cause.
    """
    if world.size == 1:
        yield
        return
    has_gpu = torch.cuda.is_available()
    if has_gpu:
        torch.cuda.set_device(world.local_rank)
    _set_interface(interface)
    heartbeat = Heartbeat(world, write_cause)  # before the group, which a process that fails would leave waiting
    try:
        heartbeat.start()
        _connect("nccl" if has_gpu else "gloo")
        yield
        dist.barrier()
    except BaseException as error:
        termination.ignore_signals()  # torchrun sends SIGTERM as soon as another process ends
        raise heartbeat.find_cause(error) from error
    finally:
        heartbeat.stop()
    # On torch 2.1, Gloo's thread needs the GIL to release the barrier, and destroy_process_group waits for that thread
    # while it holds the GIL. Without this pause, one job in fifteen never ended.
    time.sleep(SECONDS_BEFORE_DESTROY)
    dist.destroy_process_group()


def _connect(backend: str) -> None:
    """Initialize the default process group.

    Raises:
        errors.ProcessesError: the network between the hosts does not work.
    """
    try:
        dist.init_process_group(backend, timeout=COLLECTIVE_TIMEOUT)
    except RuntimeError as cause:
        raise errors.ProcessesError.not_connected(cause) from cause


def _set_interface(interface: str | None) -> None:
    """Select the network between the hosts for Gloo and NCCL, if this machine has it and the user chose no other."""
    if interface is not None and interface in {name for _, name in socket.if_nameindex()}:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
