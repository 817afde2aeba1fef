"""One run of a script in a workspace, and everything that was observed of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fusionzoo.contracts.verification.file_watch import Activity, FileWatch
from fusionzoo.contracts.verification.folder_snapshot import (
    Snapshot,
    describe_path,
    examine,
    find_changes,
    take_snapshot,
    walk,
)
from fusionzoo.contracts.verification.recorded_variables import VariableRead, read_records
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.watched_run import Outcome, run_watched
from fusionzoo.contracts.verification.workspace import Workspace

MAX_FAILURE_BYTES = 20_000


@dataclass(frozen=True)
class ScriptRun:
    """What was observed of one run.

    Attributes:
        outcome: how the run ended, and what it printed.
        activity: the file accesses during the run.
        inputs: the files of each input of the contract, by logical name, as they were before the run. An input that the
            job does not have is not in it.
        writes: what happened to each path that was written, such as "created, deleted".
        variables: the reads of environment variables; None if they were not recorded.
        failure: the beginning of the failure file; None if there is no such file.
        temporary_files: the files that the run left in the folder of temporary files.
    """

    workspace: Workspace
    outcome: Outcome
    activity: Activity
    inputs: Mapping[str, Snapshot]
    writes: Mapping[Path, str]
    variables: Sequence[VariableRead] | None
    failure: str | None
    temporary_files: Sequence[Path]


def run_script(job: VerifiedJob, workspace: Workspace) -> ScriptRun:
    """Run the script on the inputs that the workspace holds, and return what was observed."""
    contract = job.contract
    located = {name: workspace.locate(path) for name, path in contract.expected_input_paths.items()}
    inputs = {name: _take_input_snapshot(path) for name, path in located.items() if path.exists()}
    watched = (workspace.root, workspace.home, workspace.work)
    before = [take_snapshot(folder) for folder in watched]
    command = workspace.make_command(job.list_arguments(workspace), job.environ or {})
    with FileWatch(read_folders=[workspace.root], write_folders=[workspace.home, workspace.work]) as watch:
        outcome = run_watched(command, watch, job.timeout)
    changes: dict[Path, str] = {}
    for folder, old in zip(watched, before, strict=True):
        changes |= find_changes(old, take_snapshot(folder))
    for name, old in inputs.items():
        changes |= find_changes(old, _take_input_snapshot(located[name]))
    return ScriptRun(
        workspace=workspace,
        outcome=outcome,
        activity=watch.activity,
        inputs=inputs,
        writes=_combine(watch.activity, changes),
        variables=read_records(workspace.recorder),
        failure=_read_failure(job, workspace),
        temporary_files=sorted(path for path in walk(workspace.temporary) if not examine(path, Path.is_dir)),
    )


def _take_input_snapshot(path: Path) -> Snapshot:
    """Return the files of an input with their contents; an input may be a file or a folder."""
    if path.is_dir():
        return take_snapshot(path, hash_files=True)
    entry = describe_path(path, hash_file=True)
    return {} if entry is None else {path: entry}


def _combine(activity: Activity, changes: Mapping[Path, str]) -> dict[Path, str]:
    """Return what happened to each path, from the events and from what differs after the run."""
    happened = {path: list(history) for path, history in activity.written.items()}
    for path, change in changes.items():
        history = happened.setdefault(path, [])
        if change not in history:
            history.append(change)
    return {path: ", ".join(history) for path, history in sorted(happened.items())}


def _read_failure(job: VerifiedJob, workspace: Workspace) -> str | None:
    file = job.contract.job_kind.failure_file
    path = workspace.locate(file) if file is not None else None
    if path is None or not path.is_file():
        return None
    with path.open("rb") as stream:
        return stream.read(MAX_FAILURE_BYTES).decode("utf-8", "replace")
