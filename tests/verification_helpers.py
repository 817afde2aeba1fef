"""A small script that satisfies its contract, and jobs that verify variants of it."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from fusionzoo.contracts import TrainingScriptContract
from fusionzoo.contracts.verification.evidence_report import CheckStatus, VerificationReport
from fusionzoo.contracts.verification.script_verification import verify_script
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import RootKind

CONTRACT = TrainingScriptContract(
    entry_point="train.py",
    framework="none",
    expected_input_paths={
        "train_data": "/opt/ml/input/data/train",
        "test_data": "/opt/ml/input/data/test",
        "config": "/opt/ml/input/config/hyperparameters.json",
    },
    expected_output_paths={"model_output": "/opt/ml/model", "failure": "/opt/ml/output/failure"},
    optional_paths=frozenset({"failure"}),
    optional_channels=frozenset({"test_data"}),
    optional_env_vars={"SAGEMAKER_BASE_DIR": "/opt/ml", "DECLARED": ""},
    artifacts={"model_output": ["model.json"]},
)
SCRIPT = """
import json, os, sys
from pathlib import Path

ROOT = Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))
HOME = Path.home()
TRAIN, TEST = ROOT / "input/data/train", ROOT / "input/data/test"

def read_table(folder):
    if not folder.is_dir():
        raise ValueError(f"channel '{folder.name}' is missing")
    for path in sorted(folder.iterdir()):
        if not path.read_bytes().startswith(b"id,"):
            raise ValueError(f"{path} is not a table")

def main():
    {before}
    config = json.loads((ROOT / "input/config/hyperparameters.json").read_bytes().decode("latin-1"))
    read_table(TRAIN)
    if TEST.exists():
        read_table(TEST)
    (ROOT / "model/model.json").write_text(json.dumps(config))
    {after}

try:
    main()
except Exception as error:
    (ROOT / "output").mkdir(exist_ok=True)
    text = "hyperparameters.json: " + str(error) if isinstance(error, (OSError, json.JSONDecodeError)) else str(error)
    (ROOT / "output/failure").write_text(text)
    sys.exit(1)
"""


def write_script(folder: Path, before: str = "pass", after: str = "pass", **replaced: str) -> Path:
    """Write the script with more code before and after its work; `replaced` maps parts of it, by number, to others."""
    indent = " " * 4
    source = SCRIPT.replace("{before}", textwrap.indent(textwrap.dedent(before), indent).strip())
    source = source.replace("{after}", textwrap.indent(textwrap.dedent(after), indent).strip())
    path = folder / "train.py"
    path.write_text(source)
    return path


def write_input(folder: Path) -> Path:
    """Write inputs with SageMaker's layout; return the folder."""
    for name in ("train", "test"):
        part = folder / "input/data" / name / "part.csv"
        part.parent.mkdir(parents=True)
        part.write_text("id,text\n1,late\n")
    config = folder / "input/config/hyperparameters.json"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"lr": "0.1"}))
    return folder


def make_job(script: Path, **changes: Any) -> VerifiedJob:
    """Return a job that verifies a script with generated inputs; SAGEMAKER_BASE_DIR names the root folder."""
    fields = {"contract": CONTRACT, "root_kind": RootKind.VARIABLE, "timeout": 20.0, **changes}
    return VerifiedJob(script=script, **fields)


def verify(script: Path, is_quick: bool = True, **changes: Any) -> VerificationReport:
    """Return the report on a script; by default of the run with all inputs only."""
    return verify_script(make_job(script, **changes), only_complete_run=is_quick)


def find_failures(report: VerificationReport) -> dict[str, str]:
    """Return the detail of each failed check by "subject claim"."""
    return {f"{c.subject} {c.claim}": c.detail for c in report.checks if c.status is CheckStatus.FAILED}


def find_warnings(report: VerificationReport) -> dict[str, str]:
    """Return the detail of each check that could not be verified by "subject claim"."""
    return {f"{c.subject} {c.claim}": c.detail for c in report.checks if c.status is CheckStatus.NOT_VERIFIED}
