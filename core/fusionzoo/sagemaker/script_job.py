"""Run a script that is one process, such as that of a processing job, as its contract and SageMaker expect it."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from fusionzoo import errors
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.library_environment import configure_libraries
from fusionzoo.sagemaker.failure_file import remove_stale_failure
from fusionzoo.sagemaker.paths import read_root
from fusionzoo.sagemaker.reported_run import (
    ignore_signals,
    log_to_stdout,
    own_folder,
    report_early_error,
    run_and_report,
)
from fusionzoo.sagemaker.script_results import ScriptResults

log = logging.getLogger(__name__)


def run_script_job(
    job: Callable[[Path], None], contract: ScriptContract, failure_name: str, environ: Mapping[str, str]
) -> int:
    """Run the job of a script and return its exit status, 0 or 1. If it fails, write the cause to its failure file.

    The results of an earlier run are set aside first, and deleted if this run succeeds. The artifacts of this run are
    deleted if it fails, so that nothing is left that could be mistaken for its results. Other files in the output
    folders stay. A job that finds another one in these folders changes nothing and writes no failure file.

    Args:
        job: receives the folder that is SageMaker's root folder: SAGEMAKER_BASE_DIR replaces it.
        contract: the contract of the script, of a training or a processing job.
        failure_name: the logical name of the file for the cause in the contract: "failure" or "message".
        environ: the environment variables.
    """
    try:
        root = read_root(environ)
    except errors.PathError as error:
        return report_early_error(error, None)
    failure, results = root / contract.relative_path(failure_name), ScriptResults(root, contract)

    def run() -> None:
        with own_folder(results.main_folder, secrets.token_hex(8), failure):
            remove_stale_failure(failure)
            configure_libraries()
            results.set_aside()
            try:
                job(root)
            except BaseException:
                _warn_of_output_errors(results.delete)
                raise
            ignore_signals()
            _warn_of_output_errors(results.delete_set_aside)

    with log_to_stdout():
        return run_and_report(run, failure, locked_folder=results.main_folder)


def _warn_of_output_errors(clean_up: Callable[[], None]) -> None:
    """Clean up after the job. If that fails, warn: the job has its results, or another cause that the user must see."""
    try:
        clean_up()
    except errors.OutputError as error:
        log.warning("%s", error)
