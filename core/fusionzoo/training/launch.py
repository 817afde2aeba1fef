"""One process or many: what the machine and the settings ask for, started here where nobody else has done so."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args
from torch.distributed.run import run as torchrun

from fusionzoo import errors
from fusionzoo.architecture import Architecture, choose_architecture
from fusionzoo.hyperparameters import parsing
from fusionzoo.sagemaker.paths import Hosts, Paths, write_failure
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed.process_group import join_process_group
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.job import train
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

WORKER = "fusionzoo.training.worker"
PORT = 7777  # on the first host, as SageMaker's own launcher has it
MAX_HOST_WAIT_SECONDS = 600.0  # in which the other hosts' names must come to be known


@dataclass(frozen=True)
class ProcessPlan:
    """The processes of a job: so many on each of the hosts."""

    per_host: int
    hosts: Hosts | None  # None: this machine alone

    @property
    def processes(self) -> int:
        return self.per_host * (1 if self.hosts is None else len(self.hosts.names))


def run_training(paths: Paths) -> None:
    """Train, as one of the processes that torchrun has started, or alone, or by starting the processes of this host.

    Raises:
        errors.ZooError: something a user can mend.
    """
    world, hosts = World.from_environment(os.environ), paths.hosts()
    architecture: Architecture | None = None
    if world is None:
        architecture = choose_architecture(parsing.read_hyperparameters(paths))
        plan = plan_processes(architecture.job, hosts, os.environ)
        if plan.processes > 1:
            start_processes(plan, paths)
            return
    interface = None if hosts is None else hosts.interface
    world = world or SINGLE_PROCESS
    termination = Termination(several=world.size > 1)
    with (
        termination.watched(),
        join_process_group(world, interface, termination, lambda why: write_failure(paths.failure, why)),
        termination.told(),  # before the other processes are
    ):
        # A process that torchrun started reads the settings here, so that the others learn of an error in them.
        train(paths, architecture or choose_architecture(parsing.read_hyperparameters(paths)), world, termination)


def plan_processes(job: JobSettings, hosts: Hosts | None, environ: Mapping[str, str]) -> ProcessPlan:
    """How many processes: `devices` on each host; by default one per GPU that SM_NUM_GPUS or torch tells of, or one.

    Raises:
        errors.ProcessesError: the machine has fewer GPUs.
    """
    gpus = torch.cuda.device_count()
    said = environ.get("SM_NUM_GPUS", "")
    found = int(said) if said.isdigit() else gpus
    per_host = job.devices or max(1, found)
    if gpus and per_host > gpus:
        raise errors.ProcessesError.too_few_gpus(per_host, gpus)
    return ProcessPlan(per_host, hosts if hosts is not None and len(hosts.names) > 1 else None)


def start_processes(chosen: ProcessPlan, paths: Paths) -> None:
    """Run the processes of this host to their end, as torchrun does.

    Raises:
        errors.ProcessLostError: one of them failed; it has written its cause itself if it could.
        errors.TerminatedError: SIGTERM or Ctrl-C, which the processes have been sent, too.
    """
    arguments = ["--nproc-per-node", str(chosen.per_host)]
    if chosen.hosts is None:
        arguments.append("--standalone")
    else:
        wait_for_hosts(chosen.hosts)
        number = chosen.hosts.names.index(chosen.hosts.current)
        arguments += ["--nnodes", str(len(chosen.hosts.names)), "--node-rank", str(number)]
        arguments += ["--master-addr", chosen.hosts.names[0], "--master-port", str(PORT)]
    log.info("Starting %d of %d processes on this host", chosen.per_host, chosen.processes)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    try:
        with worker_environment(chosen, paths):
            torchrun(parse_args([*arguments, "--module", WORKER]))  # type: ignore[no-untyped-call]
    except ChildFailedError as failed:
        rank, failure = failed.get_first_failure()
        name = failure.signal_name() if failure.exitcode < 0 else None
        raise errors.ProcessLostError.ended(rank, chosen.processes, failure.exitcode, name) from None
    except SignalException:
        raise errors.TerminatedError(None) from None


@contextmanager
def worker_environment(chosen: ProcessPlan, paths: Paths) -> Iterator[None]:
    """The variables that the processes need, which torchrun takes from this process; as before afterwards."""
    before = dict(os.environ)
    os.environ |= {
        "SAGEMAKER_BASE_DIR": str(paths.base),
        "SM_CHECKPOINT_DIR": str(paths.checkpoints),
        "FUSIONZOO_CACHE": str(paths.cache),
    }
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # DDP warns, in each process, of what is meant to be so
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // chosen.per_host)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def wait_for_hosts(hosts: Hosts) -> None:
    """Wait until the names of all hosts are known here: a container's start later than others.

    Raises:
        errors.ProcessesError: one is not known after ten minutes.
    """
    until = time.monotonic() + MAX_HOST_WAIT_SECONDS
    for name in hosts.names:
        while not _is_known(name):
            if time.monotonic() > until:
                raise errors.ProcessesError.host_unknown(name, MAX_HOST_WAIT_SECONDS)
            time.sleep(1)


def _is_known(name: str) -> bool:
    try:
        socket.getaddrinfo(name, None)
    except socket.gaierror:
        return False
    return True
