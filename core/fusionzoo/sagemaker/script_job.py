"""Run a script that is one process, such as that of a processing job, as its contract and SageMaker expect it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from fusionzoo import errors
from fusionzoo.contracts.script_contract import ScriptContract
from fusionzoo.library_environment import configure_libraries
from fusionzoo.sagemaker.earlier_results import delete_artifacts
from fusionzoo.sagemaker.failure_file import remove_stale_failure
from fusionzoo.sagemaker.paths import read_root
from fusionzoo.sagemaker.reported_run import log_to_stdout, report_early_error, run_and_report

log = logging.getLogger(__name__)


def run_script_job(
    job: Callable[[Path], None], contract: ScriptContract, failure_name: str, environ: Mapping[str, str]
) -> int:
    """Run the job of a script and return its exit status, 0 or 1. If it fails, write the cause to its failure file.

    The artifacts of an earlier run are deleted first, and those of this run if it fails, so that nothing is left that
    could be mistaken for the results of this run. Other files in the output folders stay.

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
    failure = root / contract.relative_path(failure_name)

    def run() -> None:
        remove_stale_failure(failure)
        configure_libraries()
        delete_artifacts(root, contract)
        try:
            job(root)
        except BaseException:
            _clean_up(root, contract)
            raise

    with log_to_stdout():
        return run_and_report(run, failure)


def _clean_up(root: Path, contract: ScriptContract) -> None:
    """Delete the artifacts of a failed run. The user must see why it failed, not why they cannot be deleted."""
    try:
        delete_artifacts(root, contract)
    except errors.OutputError as error:
        log.warning("%s", error)
