"""What the complete run must show: it succeeds, reads its inputs, and writes its outputs and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fusionzoo.contracts.verification.evidence_report import CheckStatus, EvidenceCheck
from fusionzoo.contracts.verification.folder_snapshot import examine
from fusionzoo.contracts.verification.script_run import ScriptRun
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import CACHE_FOLDER, ROOT_VARIABLE, RootKind
from fusionzoo.errors.base import shorten
from fusionzoo.errors.wording import join_first, pluralize

STANDARD_VARIABLES = frozenset(
    "HOME USER LOGNAME PATH PWD SHELL TERM TMPDIR TEMP TMP TZ LANG LANGUAGE LC_ALL NO_COLOR COLUMNS LINES".split()
)
"""What a Unix program may read, whatever its contract says."""
IS_READ, IS_WRITTEN = "is read", "is written"
MAX_SHOWN, MAX_CAUSE_LENGTH = 5, 300


def check_complete_run(job: VerifiedJob, run: ScriptRun) -> Iterator[EvidenceCheck]:
    """Yield a check for each claim that a run with all inputs can prove."""
    yield _check_ending(run)
    for name in job.contract.expected_input_paths:
        yield _check_input_read(job, run, name)
    yield _check_inputs_unchanged(job, run)
    for name, path in job.contract.expected_output_paths.items():
        if path != job.contract.job_kind.failure_file:
            yield _check_output_written(job, run, name)
    yield _check_other_writes(job, run)
    yield _check_variables(job, run)
    yield from _check_remains(run)


def find_cause(run: ScriptRun) -> str:
    """Return the beginning of the failure file, or else the last line of the output, after a colon."""
    words = (run.failure or "").split() or " ".join(run.outcome.output.strip().splitlines()[-1:]).split()
    return f": {shorten(' '.join(words), MAX_CAUSE_LENGTH)}" if words else ""


def _check_ending(run: ScriptRun) -> EvidenceCheck:
    claim = "succeeds"
    if run.outcome.exit_status != 0:
        return EvidenceCheck("script", claim, CheckStatus.FAILED, f"it {run.outcome.describe()}{find_cause(run)}")
    if run.failure is not None:
        detail = f"it ended with exit status 0, but left a failure file{find_cause(run)}"
        return EvidenceCheck("script", claim, CheckStatus.FAILED, detail)
    return EvidenceCheck("script", claim, CheckStatus.PROVEN, f"exit status 0 after {run.outcome.seconds:.1f} s")


def _check_input_read(job: VerifiedJob, run: ScriptRun, name: str) -> EvidenceCheck:
    claim, path = IS_READ, job.contract.expected_input_paths[name]
    files = {file for file, entry in run.inputs.get(name, {}).items() if entry.kind == "a file"}
    opened, read = files & run.activity.opened, files & run.activity.read
    if not files:
        return EvidenceCheck(name, claim, CheckStatus.NOT_VERIFIED, "the job does not have it")
    if read:
        rest = f"; not opened: {_list_paths(run, files - opened)}" if files - opened else ""
        detail = f"{len(opened)} of {pluralize(len(files), 'file')} in {path}{rest}"
        return EvidenceCheck(name, claim, CheckStatus.PROVEN, detail)
    if opened:
        detail = f"opened, and then either mapped into memory or not read: {_list_paths(run, opened)}"
        return EvidenceCheck(name, claim, CheckStatus.NOT_VERIFIED, detail)
    if run.activity.gaps:
        return EvidenceCheck(name, claim, CheckStatus.NOT_VERIFIED, "; ".join(run.activity.gaps))
    detail = f"no file in {path} was opened{_explain_root(run)}"
    return EvidenceCheck(name, claim, _judge_absence(job, run, name), detail)


def _explain_root(run: ScriptRun) -> str:
    """Return a hint if the script did not look into the root folder at all."""
    if run.workspace.root_kind is RootKind.NAMESPACE or run.activity.opened:
        return ""
    return f"; a script that does not use {ROOT_VARIABLE} is verified by root only"


def _check_inputs_unchanged(job: VerifiedJob, run: ScriptRun) -> EvidenceCheck:
    claim, places = "are not changed", list(job.contract.expected_input_paths.values())
    changed = [path for path in run.writes if _is_below(path, map(run.workspace.locate, places))]
    if changed:
        return EvidenceCheck("inputs", claim, CheckStatus.FAILED, _list_writes(run, changed))
    if run.activity.gaps:
        detail = f"the files are the same, but {'; '.join(run.activity.gaps)}"
        return EvidenceCheck("inputs", claim, CheckStatus.NOT_VERIFIED, detail)
    count = len({path for snapshot in run.inputs.values() for path in snapshot})
    detail = f"{pluralize(count, 'file')} with the same contents, and no write in between"
    return EvidenceCheck("inputs", claim, CheckStatus.PROVEN, detail)


def _check_output_written(job: VerifiedJob, run: ScriptRun, name: str) -> EvidenceCheck:
    claim, path = IS_WRITTEN, job.contract.expected_output_paths[name]
    place = run.workspace.locate(path)
    written = [found for found in run.writes if found.is_relative_to(place) and _has_content(found)]
    if written:
        detail = f"{pluralize(len(written), 'file')} in {path}: {_list_paths(run, written)}"
        return EvidenceCheck(name, claim, CheckStatus.PROVEN, detail)
    detail = f"the run left no file with content in {path}"
    return EvidenceCheck(name, claim, _judge_absence(job, run, name), detail)


def _judge_absence(job: VerifiedJob, run: ScriptRun, name: str) -> CheckStatus:
    """Return what it means that a path was not used: nothing, if it is optional or the script failed before."""
    is_excused = name in job.contract.optional_paths or run.outcome.exit_status != 0
    return CheckStatus.NOT_VERIFIED if is_excused else CheckStatus.FAILED


def _has_content(path: Path) -> bool:
    return examine(path, Path.is_file) and path.stat().st_size > 0


def _check_other_writes(job: VerifiedJob, run: ScriptRun) -> EvidenceCheck:
    subject, claim = "other folders", "are not written to"
    contract, workspace = job.contract, run.workspace
    declared = [workspace.locate(path) for path in contract.expected_output_paths.values()]
    if (file := contract.job_kind.failure_file) is not None:
        declared.append(workspace.locate(file))
    inputs = [workspace.locate(path) for path in contract.expected_input_paths.values()]
    allowed = [*declared, *inputs, workspace.home / CACHE_FOLDER]
    parents = {parent for path in declared for parent in path.parents}
    other = [path for path in run.writes if path not in parents and not _is_below(path, allowed)]
    if other:
        return EvidenceCheck(subject, claim, CheckStatus.FAILED, _list_writes(run, other))
    if run.activity.gaps:
        return EvidenceCheck(subject, claim, CheckStatus.NOT_VERIFIED, "; ".join(run.activity.gaps))
    detail = "nothing else in the root folder, the home folder (except its cache) and the working directory"
    return EvidenceCheck(subject, claim, CheckStatus.PROVEN, detail)


def _check_variables(job: VerifiedJob, run: ScriptRun) -> EvidenceCheck:
    subject, claim = "environment variables", "are declared if they are read"
    if run.variables is None:
        detail = "the reads were not recorded; the interpreter did not run sitecustomize"
        return EvidenceCheck(subject, claim, CheckStatus.NOT_VERIFIED, detail)
    declared = {*job.contract.required_env_vars, *job.contract.optional_env_vars, *STANDARD_VARIABLES}
    if run.workspace.root_kind is RootKind.VARIABLE:
        declared.add(ROOT_VARIABLE)
    undeclared = [read for read in run.variables if read.variable not in declared]
    if undeclared:
        reads = join_first([f"{read.variable} ({read.file}:{read.line})" for read in undeclared], MAX_SHOWN)
        return EvidenceCheck(subject, claim, CheckStatus.FAILED, f"not declared: {reads}")
    names = sorted({read.variable for read in run.variables})
    return EvidenceCheck(subject, claim, CheckStatus.PROVEN, f"read: {', '.join(names) or 'none'}")


def _check_remains(run: ScriptRun) -> Iterator[EvidenceCheck]:
    if run.outcome.leftovers:
        detail = f"killed after the script had ended: {join_first(list(run.outcome.leftovers), MAX_SHOWN)}"
        yield EvidenceCheck("processes", "end with the script", CheckStatus.NOT_VERIFIED, detail)
    if run.temporary_files:
        detail = f"left: {_list_paths(run, run.temporary_files)}"
        yield EvidenceCheck("temporary files", "are deleted", CheckStatus.NOT_VERIFIED, detail)


def _is_below(path: Path, places: Iterable[Path]) -> bool:
    return any(path.is_relative_to(place) for place in places)


def _list_paths(run: ScriptRun, paths: Iterable[Path]) -> str:
    return join_first([run.workspace.contract_path(path) for path in sorted(paths)], MAX_SHOWN)


def _list_writes(run: ScriptRun, paths: Iterable[Path]) -> str:
    shown = [f"{run.workspace.contract_path(path)} ({run.writes[path]})" for path in sorted(paths)]
    return join_first(shown, MAX_SHOWN)
