"""train.py keeps its contract when it runs, and the static validator finds every path that the run proves."""

from __future__ import annotations

from pathlib import Path

import pytest

from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, Verdict
from fusionzoo.contracts.verification.evidence_report import VerificationReport
from fusionzoo.contracts.verification.script_verification import verify_script
from fusionzoo.contracts.verification.verified_job import VerifiedJob
from fusionzoo.contracts.verification.workspace import choose_root_kind
from process_helpers import TRAIN_PY
from verification_helpers import find_failures, find_warnings


@pytest.fixture(scope="module")
def report() -> VerificationReport:
    """The report on one real run of train.py with the generated job."""
    job = VerifiedJob(TRAIN_PY, PYTORCH_TRAIN_CONTRACT, choose_root_kind(), environ={"OMP_NUM_THREADS": "1"})
    return verify_script(job, only_complete_run=True)


def test_a_run_of_train_py_proves_its_contract(report: VerificationReport) -> None:
    assert find_failures(report) == {}
    assert report.summary == "train.py vs TrainingScriptContract: COMPLIANT"
    contract = PYTORCH_TRAIN_CONTRACT
    required = {**contract.expected_input_paths, **contract.expected_output_paths}
    required = {name: path for name, path in required.items() if name not in contract.optional_paths}
    assert {name: report.verdicts[path] for name, path in required.items()} == dict.fromkeys(required, Verdict.PROVEN)


def test_every_artifact_of_train_py_loads(report: VerificationReport) -> None:
    artifacts = [check for check in report.checks if check.claim == "exists, is not empty and loads"]
    assert len(artifacts) == sum(map(len, PYTORCH_TRAIN_CONTRACT.artifacts.values()))
    assert not [warning for warning in find_warnings(report) if warning.endswith("loads")]


def test_train_py_reads_declared_variables_only(report: VerificationReport) -> None:
    assert {"SAGEMAKER_BASE_DIR", "SM_CHECKPOINT_DIR", "FUSIONZOO_CACHE"} <= report.variables.keys()
    assert all(Path(place.rpartition(":")[0]).is_file() for places in report.variables.values() for place in places)


def test_the_static_validator_finds_every_path_that_the_run_proves(report: VerificationReport) -> None:
    static = PYTORCH_TRAIN_CONTRACT.validate_implementation(TRAIN_PY)
    proven = {path for path, verdict in report.verdicts.items() if verdict is Verdict.PROVEN}
    assert len(proven) >= 7
    assert {path for path in proven if static.verdicts[path] is Verdict.MISSING} == set()
