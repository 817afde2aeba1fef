"""Whether a run left every artifact of its contract, and whether each of them is not empty and loads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fusionzoo.contracts.verification import artifact_loading
from fusionzoo.contracts.verification.artifact_loading import FAILED, SKIPPED
from fusionzoo.contracts.verification.evidence_report import CheckStatus, EvidenceCheck
from fusionzoo.contracts.verification.folder_snapshot import examine, walk
from fusionzoo.contracts.verification.script_run import ScriptRun
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.errors.wording import join_first, pluralize

LOADING_SECONDS = 120.0
MAX_FILES = 50  # of one artifact that is a folder or a pattern

Results = Mapping[Path, tuple[str, str]]  # a status of artifact_loading, and a detail


def check_artifacts(job: VerifiedJob, run: ScriptRun) -> Iterator[EvidenceCheck]:
    """Yield a check for each artifact of the contract."""
    found = {
        f"{job.contract.expected_output_paths[output]}/{artifact}": _find_files(job, run, output, artifact)
        for output, artifacts in job.contract.artifacts.items()
        for artifact in artifacts
    }
    results = _load([path for files in found.values() for path in files[:MAX_FILES] if path.stat().st_size > 0])
    for artifact, files in found.items():
        yield _check_artifact(run, artifact, files, results)


def _find_files(job: VerifiedJob, run: ScriptRun, output: str, artifact: str) -> list[Path]:
    """Return the files that match an artifact: a file, a pattern, or a folder with a slash. All are of this run."""
    folder = run.workspace.locate(job.contract.expected_output_paths[output])
    found = walk(folder / artifact) if artifact.endswith("/") else folder.glob(artifact)
    return sorted(path for path in found if examine(path, Path.is_file))


def _check_artifact(run: ScriptRun, artifact: str, files: list[Path], results: Results) -> EvidenceCheck:
    def result(status: CheckStatus, detail: str) -> EvidenceCheck:
        return EvidenceCheck(artifact, "exists, is not empty and loads", status, detail)

    def describe(path: Path) -> str:
        return f"{run.workspace.contract_path(path)} ({results[path][1]})"

    if not files:
        return result(CheckStatus.FAILED, "the run did not write it")
    if empty := [run.workspace.contract_path(path) for path in files if path.stat().st_size == 0]:
        return result(CheckStatus.FAILED, f"empty: {join_first(empty, 3)}")
    checked = files[:MAX_FILES]
    if failed := [describe(path) for path in checked if results[path][0] == FAILED]:
        return result(CheckStatus.FAILED, f"does not load: {join_first(failed, 3)}")
    if skipped := [describe(path) for path in checked if results[path][0] == SKIPPED]:
        return result(CheckStatus.NOT_VERIFIED, f"not empty, but not loaded: {join_first(skipped, 3)}")
    how = join_first(sorted({results[path][1] for path in checked}), 3)
    size = sum(path.stat().st_size for path in files)
    return result(CheckStatus.PROVEN, f"{pluralize(len(files), 'file')}, {size:,} bytes, loaded with {how}")


def _load(paths: list[Path]) -> Results:
    """Load files in a process of their own; if that fails, no file counts as loaded."""
    command = [sys.executable, artifact_loading.__file__]
    try:
        result = subprocess.run(
            command,
            input=json.dumps([str(path) for path in paths]),
            capture_output=True,
            text=True,
            timeout=LOADING_SECONDS,
            check=True,
        )
        return {path: (status, detail) for path, (status, detail) in zip(paths, json.loads(result.stdout), strict=True)}
    except (subprocess.SubprocessError, ValueError) as error:
        return dict.fromkeys(paths, (FAILED, f"the process that loads the artifacts failed: {error}"))
