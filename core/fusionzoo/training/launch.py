"""Start the processes of a training job: one, or several on each host. Under torchrun, train as one of them."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields

import torch
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.launcher.api import LaunchConfig
from torch.distributed.run import parse_args
from torch.distributed.run import run as torchrun

from fusionzoo import errors
from fusionzoo.architecture import choose_architecture
from fusionzoo.container_limits import count_cores, count_cores_of_quota
from fusionzoo.errors.wording import pluralize
from fusionzoo.hyperparameters import locate_pretrained_models, read_hyperparameters
from fusionzoo.registry import library_versions
from fusionzoo.sagemaker.failure_file import write_failure
from fusionzoo.sagemaker.folder_lock import lock_folder
from fusionzoo.sagemaker.hosts import Hosts, read_hosts
from fusionzoo.sagemaker.paths import JOB_ID_VARIABLE, START_VARIABLE, Paths
from fusionzoo.settings import JobSettings
from fusionzoo.training.distributed.heartbeat import is_lost_connection
from fusionzoo.training.distributed.host_rendezvous import wait_for_hosts
from fusionzoo.training.distributed.parent_watch import stop_when_parent_ends
from fusionzoo.training.distributed.process_group import join_process_group
from fusionzoo.training.distributed.world import SINGLE_PROCESS, World
from fusionzoo.training.job import train
from fusionzoo.training.shipping import TORCHRUN_TIMEOUT_VARIABLE
from fusionzoo.training.termination import Termination

log = logging.getLogger(__name__)

TORCHRUN_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)  # what torchrun handles by default
WORKER_MODULE = "fusionzoo.training.worker"
TORCHRUN_TIMEOUT = 110  # seconds until torchrun kills its processes; SageMaker kills the container after 120
MASTER_PORT = 7777  # of the first host, as in SageMaker's own launcher


@dataclass(frozen=True)
class ProcessPlan:
    """The number of processes on each host. `hosts` is None if the job uses this machine alone."""

    per_host: int
    hosts: Hosts | None

    @property
    def processes(self) -> int:
        """The number of processes on all hosts together."""
        return self.per_host * (1 if self.hosts is None else len(self.hosts.names))


def run_training(paths: Paths) -> None:
    """Train in this process, or start the processes of this host if the job needs several.

    Each process that trains parses and resolves the settings once and passes them to `train`.

    Raises:
        errors.ZooError: a problem that the user can fix.
    """
    library_versions.check_library_versions()
    world, hosts = World.from_environment(os.environ), read_hosts(paths)
    is_from_torchrun, architecture = world is not None, None
    if world is None:
        architecture = choose_architecture(locate_pretrained_models(read_hyperparameters(paths), paths))
        plan = plan_processes(architecture.job, hosts, os.environ)
        if plan.processes > 1:
            start_processes(plan, paths)
            return
        world = SINGLE_PROCESS
        limit_threads()
    interface = None if hosts is None else hosts.interface
    termination = Termination(is_one_of_many=world.size > 1)
    with (
        termination.handle_signals(),
        stop_when_parent_ends() if is_from_torchrun else nullcontext(),
        join_process_group(world, interface, termination, lambda cause: write_failure(paths.failure, cause)),
        termination.translate_stop_signal(),  # inside the process group, so that the other processes get the error
        lock_folder(paths.checkpoints, paths.job_id) if world.is_first else nullcontext(),
    ):
        if architecture is None:  # started by torchrun: the other processes get an error in the settings, too
            architecture = choose_architecture(locate_pretrained_models(read_hyperparameters(paths), paths))
        train(paths, architecture, world, termination)


def limit_threads() -> None:
    """Let torch use as many threads as the quota of a container has cores, unless OMP_NUM_THREADS decides."""
    cores = count_cores_of_quota()
    if cores is not None and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(cores)
        log.info("A quota limits this process to %s, so torch uses as many threads", pluralize(cores, "core"))


def plan_processes(job: JobSettings, hosts: Hosts | None, environ: Mapping[str, str]) -> ProcessPlan:
    """Return how many processes each host runs: `devices`; by default one per GPU, or one without a GPU.

    SM_NUM_GPUS, if it is set, overrides the number of GPUs that torch finds.

    Raises:
        errors.ProcessesError: the machine has fewer GPUs than `devices`.
    """
    gpus = torch.cuda.device_count()
    sm_num_gpus = environ.get("SM_NUM_GPUS", "")
    default = int(sm_num_gpus) if sm_num_gpus.isdecimal() else gpus
    per_host = job.devices or max(1, default)
    if gpus and per_host > gpus:
        raise errors.ProcessesError.too_few_gpus(per_host, gpus)
    return ProcessPlan(per_host, hosts if hosts is not None and len(hosts.names) > 1 else None)


def start_processes(plan: ProcessPlan, paths: Paths) -> None:
    """Run the processes of this host with torchrun and wait until they end.

    Raises:
        errors.ProcessLostError: a process failed; it has written its cause itself if it was able to.
        errors.ProcessesError: the hosts cannot connect to each other, or one of them has not started.
        errors.TerminatedError: a signal, which torchrun has also sent to the processes.
    """
    arguments = ["--nproc-per-node", str(plan.per_host), *choose_signals()]
    if plan.hosts is None:
        arguments.append("--standalone")
    else:
        node_rank = plan.hosts.names.index(plan.hosts.current)
        arguments += ["--nnodes", str(len(plan.hosts.names)), "--node-rank", str(node_rank)]
        arguments += ["--master-addr", plan.hosts.names[0], "--master-port", str(MASTER_PORT)]
    log.info("Starting %d of %d processes on this host", plan.per_host, plan.processes)
    logging.getLogger("torch.distributed").setLevel(logging.ERROR)
    try:
        with (
            nullcontext() if plan.hosts is None else wait_for_hosts(plan.hosts, MASTER_PORT),
            worker_environment(plan, paths),
        ):
            torchrun(parse_args([*arguments, "--module", WORKER_MODULE]))  # type: ignore[no-untyped-call]
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        signal_name = failure.signal_name() if failure.exitcode < 0 else None
        raise errors.ProcessLostError.ended(rank, plan.processes, failure.exitcode, signal_name) from None
    except SignalException:
        raise errors.TerminatedError(None) from None
    except RuntimeError as error:
        if plan.hosts is None or not is_lost_connection(error):
            raise
        raise errors.ProcessesError.no_launch(plan.hosts.names[0], MASTER_PORT, error) from error


def choose_signals() -> list[str]:
    """Return the arguments of torchrun that keep signals ignored that this process ignores: nohup ignores SIGHUP."""
    if "signals_to_handle" not in {field.name for field in fields(LaunchConfig)}:  # before torch 2.9
        return []
    handled = [number.name for number in TORCHRUN_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    return ["--signals-to-handle", ",".join(handled)]


@contextmanager
def worker_environment(plan: ProcessPlan, paths: Paths) -> Iterator[None]:
    """In the block, set the environment variables that the worker processes inherit. Restore them afterwards."""
    saved = dict(os.environ)
    os.environ |= {
        "SAGEMAKER_BASE_DIR": str(paths.base),
        "SM_CHECKPOINT_DIR": str(paths.checkpoints),
        "FUSIONZOO_CACHE": str(paths.cache),
        JOB_ID_VARIABLE: paths.job_id,
        START_VARIABLE: repr(paths.started),
    }
    if "shutdown_timeout" in {field.name for field in fields(LaunchConfig)}:
        os.environ.setdefault(TORCHRUN_TIMEOUT_VARIABLE, str(TORCHRUN_TIMEOUT))
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # otherwise DDP warns about intended behavior in each process
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, count_cores() // plan.per_host)))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= saved
