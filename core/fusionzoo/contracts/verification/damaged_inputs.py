"""Runs with a damaged or missing input: a required one must fail the job and be named, an optional one must not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from fusionzoo.contracts.verification.complete_run_checks import find_cause
from fusionzoo.contracts.verification.evidence_report import CheckStatus, EvidenceCheck
from fusionzoo.contracts.verification.folder_snapshot import walk
from fusionzoo.contracts.verification.script_run import ScriptRun
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import Workspace

MAX_CAUSE_CHARACTERS = 1_024  # SageMaker shows no more of the failure file
DAMAGE = b"\x00\xff{ damaged by fusionzoo contract verify \xfe\n" * 8
_NOUNS = "channel|split|folder|directory|input|dataset|data|set|path|file"


class Change(Enum):
    """What is done to an input before a run."""

    DAMAGED = "damaged"
    REMOVED = "removed"


@dataclass(frozen=True)
class InputChange:
    """A change of one input, by its logical name."""

    name: str
    change: Change
    is_optional: bool = False

    @property
    def title(self) -> str:
        """The name of the run, such as "train_data damaged"."""
        return f"{self.name} {self.change.value}"

    @property
    def claim(self) -> str:
        """What the contract says about the run."""
        if self.is_optional:
            return f"may be {self.change.value}"
        return f"fails the job if {self.change.value}"

    def apply(self, path: Path) -> None:
        """Change the input, which is a file or a folder."""
        if self.change is Change.DAMAGED:
            for file in [path, *walk(path)]:
                if file.is_file() and not file.is_symlink():
                    file.write_bytes(DAMAGE)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def list_changes(job: VerifiedJob, complete: ScriptRun) -> Iterator[InputChange]:
    """Yield the changes of the inputs that the job has, one run for each."""
    for name in job.contract.expected_input_paths:
        if name not in complete.inputs:
            continue
        is_optional = name in job.contract.optional_inputs
        if not is_optional:
            yield InputChange(name, Change.DAMAGED)
        yield InputChange(name, Change.REMOVED, is_optional)


def check_changed_run(job: VerifiedJob, change: InputChange, run: ScriptRun) -> EvidenceCheck:
    """Return the check of a run with a changed input."""

    def result(status: CheckStatus, detail: str) -> EvidenceCheck:
        return EvidenceCheck(change.name, change.claim, status, detail)

    outcome = run.outcome
    if change.is_optional:
        status = CheckStatus.PROVEN if outcome.exit_status == 0 else CheckStatus.FAILED
        return result(status, f"the job {outcome.describe()}{find_cause(run) if outcome.exit_status else ''}")
    if outcome.exit_status == 0:
        return result(CheckStatus.FAILED, f"the job succeeds with {change.name} {change.change.value}")
    if outcome.exit_status is None or outcome.exit_status < 0:
        return result(CheckStatus.FAILED, f"the job {outcome.describe()}{find_cause(run)}")
    if job.failure_file is not None and not (run.failure or "").strip():
        return result(CheckStatus.FAILED, f"the job {outcome.describe()}, but {job.failure_file} is missing or empty")
    text = outcome.output if run.failure is None else run.failure[:MAX_CAUSE_CHARACTERS]
    where = "its output" if run.failure is None else "the failure file"
    if not names_input(text, job, change.name, run.workspace):
        return result(CheckStatus.FAILED, f"{where} does not name the input{find_cause(run)}")
    return result(CheckStatus.PROVEN, f"the job {outcome.describe()}, and {where} names it{find_cause(run)}")


def names_input(text: str, job: VerifiedJob, name: str, workspace: Workspace) -> bool:
    """Return whether a message names an input: by its path, its logical name, its folder or one of its files.

    The code lines of a stack trace do not count: a variable may have the name of a channel.
    """
    path = PurePosixPath(job.contract.expected_input_paths[name])
    message = "\n".join(line for line in text.splitlines() if not line.startswith("  "))
    if str(workspace.visible(str(path))) in message or str(path) in message:
        return True
    word = re.escape(path.name)
    mentions = [rf"(?<![\w./-]){re.escape(name)}(?![\w-])"]
    if path.suffix:
        mentions.append(rf"(?<![\w-]){word}(?![\w-]|\.\w)")
    else:  # "train" alone may be the verb
        mentions += [rf"['\"`]{word}['\"`/]", rf"(?<![\w-]){word}/", rf"^(?:- )?{word}: "]
        mentions += [rf"\b(?:{_NOUNS})s? {word}(?![\w.-]\w)", rf"(?<![\w-]){word} (?:{_NOUNS})"]
    return any(re.search(mention, message, re.IGNORECASE | re.MULTILINE) for mention in mentions)
