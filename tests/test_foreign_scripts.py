"""Scripts that were not written for our contracts get a useful report: what they use, where, and what they lack."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract_scripts import validate
from foreign_scripts import MNIST, TEXT_CLASSIFICATION
from fusionzoo.contracts import TrainingScriptContract, ValidationReport, Verdict

CHANNELS = "/opt/ml/input/data"


def place_of(report: ValidationReport, path: str) -> tuple[int, str]:
    """Return the line and the expression of the first use of a path."""
    first = report.evidence[path][0]
    return first.line, first.expression


def test_the_channel_and_the_model_of_an_aws_example_are_proven_at_their_lines(tmp_path: Path) -> None:
    report = validate(tmp_path, MNIST)
    line, expression = place_of(report, f"{CHANNELS}/training")
    assert report.verdicts[f"{CHANNELS}/training"] is Verdict.PROVEN
    assert expression.startswith("dataset = datasets.MNIST(training_dir")
    assert MNIST.splitlines()[line - 1].strip() == expression
    assert report.verdicts["/opt/ml/model"] is Verdict.PROVEN
    assert "torch.save(" in place_of(report, "/opt/ml/model")[1]


def test_what_an_aws_example_lacks_is_named(tmp_path: Path) -> None:
    report = validate(tmp_path, MNIST)
    assert not report.is_valid
    for path in ("/opt/ml/input/config/hyperparameters.json", "/opt/ml/output/data", "/opt/ml/checkpoints"):
        assert report.verdicts[path] is Verdict.MISSING
        assert any(path in error for error in report.errors)
    for variable in ("SM_HOSTS", "SM_MODEL_DIR", "SM_CHANNEL_TRAINING"):
        assert any(variable in warning for warning in report.warnings)


def test_an_aws_example_complies_with_a_contract_of_its_own(tmp_path: Path) -> None:
    variables = ["SM_HOSTS", "SM_CURRENT_HOST", "SM_MODEL_DIR", "SM_CHANNEL_TRAINING", "SM_NUM_GPUS"]
    contract = TrainingScriptContract(
        entry_point="train.py",
        framework="PyTorch",
        expected_input_paths={"training": f"{CHANNELS}/training"},
        expected_output_paths={"model": "/opt/ml/model"},
        required_env_vars=variables,
    )
    script = tmp_path / "train.py"
    script.write_text(MNIST)
    report = contract.validate_implementation(script)
    assert report.errors == []
    assert report.summary == "train.py vs TrainingScriptContract: COMPLIANT"
    script.write_text(MNIST.replace('os.environ["SM_MODEL_DIR"]', '"/opt/ml/models"'))
    errors = contract.validate_implementation(script).errors
    assert any("writes /opt/ml/models/model.pth" in error for error in errors)


def test_a_hugging_face_script_reads_the_files_of_its_data_classes(tmp_path: Path) -> None:
    report = validate(tmp_path, TEXT_CLASSIFICATION)
    for channel in ("train", "val"):
        assert report.verdicts[f"{CHANNELS}/{channel}"] is Verdict.PROVEN
        assert "load_dataset(" in place_of(report, f"{CHANNELS}/{channel}")[1]
    assert report.verdicts[f"{CHANNELS}/test"] is Verdict.MISSING
    assert any("not known before the run" in note for note in report.notes)


@pytest.mark.parametrize("source", [MNIST, TEXT_CLASSIFICATION])
def test_every_error_on_a_foreign_script_has_a_fix(tmp_path: Path, source: str) -> None:
    errors = validate(tmp_path, source).errors
    assert errors
    assert [error for error in errors if "Fix: " not in error] == []
