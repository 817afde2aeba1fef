"""Run a training job as SageMaker expects it: logs on standard output, an exit status, and a failure file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path

from fusionzoo import errors
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT
from fusionzoo.library_environment import configure_libraries
from fusionzoo.local_paths import check_working_folder
from fusionzoo.sagemaker.earlier_results import set_earlier_results_aside
from fusionzoo.sagemaker.failure_file import remove_stale_failure
from fusionzoo.sagemaker.hosts import read_hosts
from fusionzoo.sagemaker.model_source import check_sources_are_not_outputs
from fusionzoo.sagemaker.paths import Paths, read_root
from fusionzoo.sagemaker.reported_run import (
    ignore_signals,
    log_to_stdout,
    own_folder,
    report_early_error,
    run_and_report,
)
from fusionzoo.sagemaker.torchrun_variables import (
    check_torchrun_variables,
    hide_invalid_variables,
    read_torchrun_variables,
)


def run_job(job: Callable[[Paths], None], environ: Mapping[str, str]) -> int:
    """Run a job and return its exit status, 0 or 1. If it fails, write the cause to the failure file.

    Every exception is logged and written, including an interrupt; a ZooError without its stack trace. `environ` holds
    the variables that torchrun sets for each process: rank 0 logs everything, the other processes log errors only.

    The process that writes the results owns the output folder until it ends, and first sets the results of an earlier
    run aside, unless the job is to start from its model. A job that finds another one there changes nothing and writes
    no failure file.
    """
    try:
        paths = Paths.from_environment(environ)
    except errors.PathError as error:
        return report_early_error(error, _find_failure_file(environ))

    def run() -> None:
        with (
            nullcontext() if torchrun else hide_invalid_variables(),
            own_folder(paths.output_data, paths.job_id, paths.failure) if writes_results else nullcontext(),
        ):
            check_torchrun_variables(torchrun)
            if torchrun.get("LOCAL_RANK", "0") == "0":
                remove_stale_failure(paths.failure)
            if writes_results:
                check_sources_are_not_outputs(paths)
                set_earlier_results_aside(paths)
            configure_libraries()
            check_working_folder()
            job(paths)
            ignore_signals()

    torchrun = read_torchrun_variables(environ)
    rank = torchrun.get("RANK", "0")
    with log_to_stdout(int(rank) if rank.isdecimal() else 0):
        writes_results = rank == "0" if torchrun else _is_first_host(paths)
        return run_and_report(run, paths.failure, is_worker=bool(torchrun), locked_folder=paths.output_data)


def _find_failure_file(environ: Mapping[str, str]) -> Path | None:
    """Return the failure file of a job with a wrong variable; None if that is the variable of its root folder."""
    try:
        return read_root(environ) / PYTORCH_TRAIN_CONTRACT.relative_path("failure")
    except errors.PathError:
        return None


def _is_first_host(paths: Paths) -> bool:
    """Return whether this process, or a process that it starts, is the one that writes the results of the job."""
    try:
        hosts = read_hosts(paths)
    except errors.ContainerError:  # the job itself fails because of it
        return True
    return hosts is None or hosts.current == hosts.names[0]
