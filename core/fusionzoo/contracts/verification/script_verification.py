"""Verify a script: run it with all inputs, and then once for each damaged or missing input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fusionzoo.contracts.job_kinds import SAGEMAKER_ROOT
from fusionzoo.contracts.validation_report import Verdict
from fusionzoo.contracts.verification.artifact_checks import check_artifacts
from fusionzoo.contracts.verification.complete_run_checks import IS_READ, IS_WRITTEN, check_complete_run
from fusionzoo.contracts.verification.damaged_inputs import InputChange, check_changed_run, list_changes
from fusionzoo.contracts.verification.evidence_report import (
    CheckStatus,
    EvidenceCheck,
    RunRecord,
    VerificationReport,
)
from fusionzoo.contracts.verification.script_run import ScriptRun, run_script
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import RootKind, make_workspace

MAX_OUTPUT_CHARACTERS = 4_000  # of the end of each run's output in the report
LIMITS = (
    "Writes outside the root folder, the home folder and the working directory are not watched.",
    "Reads of environment variables are seen in Python code of the project, and not in native code, in installed "
    "libraries, or in copies of the whole environment.",
    "The content of an input that is mapped into memory is not seen to be read.",
    "The run uses a small job: what only a larger one does is not seen.",
)


def _ignore(line: str) -> None:
    """Report no progress."""


def verify_script(
    job: VerifiedJob, report_progress: Callable[[str], None] = _ignore, only_complete_run: bool = False
) -> VerificationReport:
    """Run a script under watch, and return what its runs prove about its contract.

    The script runs with its inputs, and then with each required input damaged, each required input removed, and each
    optional input removed. `only_complete_run` leaves out the further runs. `report_progress` receives a line before
    each run.

    Raises:
        VerificationError: the job cannot be run, or this machine cannot watch it.
    """
    job.check()
    checks: list[EvidenceCheck] = []
    records: list[RunRecord] = []
    with _run(job, None, report_progress) as complete:
        checks += check_complete_run(job, complete)
        if complete.outcome.exit_status == 0:
            checks += check_artifacts(job, complete)
        records.append(_record("complete", complete))
        changes = list(list_changes(job, complete))
        verdicts = _judge_paths(job, checks)
        variables = _list_variables(complete)
    for change in changes:
        if only_complete_run or complete.outcome.exit_status != 0:
            reason = "this run was left out" if only_complete_run else "the job fails with all of its inputs"
            checks.append(EvidenceCheck(change.name, change.claim, CheckStatus.NOT_VERIFIED, reason))
            continue
        with _run(job, change, report_progress) as run:
            checks.append(check_changed_run(job, change, run))
            records.append(_record(change.title, run))
            if run.failure is not None and job.failure_file is not None:
                verdicts[job.failure_file] = Verdict.PROVEN
    return VerificationReport(
        script=job.script.name,
        contract=type(job.contract).__name__,
        settings=_describe_settings(job),
        checks=checks,
        runs=records,
        verdicts=verdicts,
        variables=variables,
        limits=LIMITS,
    )


@contextmanager
def _run(job: VerifiedJob, change: InputChange | None, report_progress: Callable[[str], None]) -> Iterator[ScriptRun]:
    """Run the script in a workspace of its own, which exists until the end of the block."""
    title = change.title if change is not None else "all inputs"
    report_progress(f"Running {job.script.name}: {title}")
    with make_workspace(job.root_kind) as workspace:
        job.fill(workspace)
        if change is not None:
            change.apply(workspace.locate(job.contract.expected_input_paths[change.name]))
        yield run_script(job, workspace)


def _record(name: str, run: ScriptRun) -> RunRecord:
    outcome = run.outcome
    return RunRecord(
        name, outcome.describe(), round(outcome.seconds, 2), run.failure, outcome.output[-MAX_OUTPUT_CHARACTERS:]
    )


def _judge_paths(job: VerifiedJob, checks: list[EvidenceCheck]) -> dict[str, Verdict]:
    """Return the verdict on each path, from the checks that its input is read, or its output is written."""
    verdicts = {CheckStatus.PROVEN: Verdict.PROVEN, CheckStatus.NOT_VERIFIED: Verdict.POSSIBLE}
    paths = {**job.contract.expected_input_paths, **job.contract.expected_output_paths}
    return {
        paths[check.subject]: verdicts.get(check.status, Verdict.MISSING)
        for check in checks
        if check.claim in (IS_READ, IS_WRITTEN)
    }


def _list_variables(run: ScriptRun) -> dict[str, list[str]]:
    places: dict[str, list[str]] = defaultdict(list)
    for read in run.variables or ():
        places[read.variable].append(f"{read.file}:{read.line}")
    return dict(sorted(places.items()))


def _describe_settings(job: VerifiedJob) -> dict[str, str]:
    root = {RootKind.NAMESPACE: f"mounted as {SAGEMAKER_ROOT}", RootKind.VARIABLE: "named by SAGEMAKER_BASE_DIR"}
    return {
        "root": root[job.root_kind],
        "input": "generated" if job.input_folder is None else str(job.input_folder),
        "arguments": " ".join(job.arguments),
        "timeout": f"{job.timeout:g} s for each run",
    }
