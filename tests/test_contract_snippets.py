"""The usage examples of the user's contract run, with the modules of fusionzoo in place of the user's `src` package."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from fusionzoo.contracts import PipelineBuilder, PyTorchTrainingStepBuilder
from fusionzoo.errors.step_errors import StepConfigurationError

ROOT = Path(__file__).parents[1]
USERS_PAGE = ROOT.parent / "shared/contract.md"  # not in the repository; compared with the copy below where it exists
SECTIONS = ("Usage Example", "Integration Points")
MODULES = {
    "src.pipeline_script_contracts": "fusionzoo.contracts",
    "src.pipeline_steps": "fusionzoo.contracts.steps",
    "src.pipeline_step_specs": "fusionzoo.contracts.steps",
}
SCRIPT = "dockers/pytorch_bsm/train.py"
SNIPPETS = {
    "Contract Access": """\
from src.pipeline_script_contracts import PYTORCH_TRAIN_CONTRACT

# Access contract details
print(f"Entry Point: {PYTORCH_TRAIN_CONTRACT.entry_point}")
print(f"Framework Requirements: {PYTORCH_TRAIN_CONTRACT.framework_requirements}")
print(f"Expected Inputs: {PYTORCH_TRAIN_CONTRACT.expected_input_paths}")
""",
    "Validation": """\
from src.pipeline_script_contracts import ScriptContractValidator

# Validate script in PyTorch container directory
validator = ScriptContractValidator('dockers/pytorch_bsm')
report = validator.validate_script('train.py')
print(report.summary)
""",
    "Integration with Step Builder": """\
from src.pipeline_steps import PyTorchTrainingStepBuilder

class PyTorchTrainingStepBuilder(StepBuilderBase):
    def validate_configuration(self) -> None:
        # Validate script compliance
        validation = PYTORCH_TRAIN_CONTRACT.validate_implementation(
            'dockers/pytorch_bsm/train.py'
        )
        if not validation.is_valid:
            self.logger.warning(f"Script validation warnings: {validation.errors}")
""",
    "With Step Specifications": """\
from src.pipeline_step_specs import PYTORCH_TRAINING_SPEC

# Contract aligns with step specification
assert PYTORCH_TRAIN_CONTRACT.entry_point == "train.py"
assert PYTORCH_TRAINING_SPEC.step_name == "pytorch_training"
""",
    "With Pipeline Builder": """\
# Contract validates script before pipeline execution
pipeline_builder.validate_script_contracts()
""",
}
NON_COMPLIANT = "import json\njson.load(open('/home/user/hyperparameters.json'))\n"


def read_snippets(page: str) -> dict[str, str]:
    """Return the Python blocks of the sections of usage examples, by their headings."""
    sections = re.split(r"^## ", page, flags=re.MULTILINE)
    examples = "".join(section for section in sections if section.startswith(SECTIONS))
    blocks = re.findall(r"^### (.+?)\n```python\n(.*?)^```$", examples, re.MULTILINE | re.DOTALL)
    assert len(blocks) == examples.count("```python")
    return dict(blocks)


def run_snippet(heading: str, **context: Any) -> dict[str, Any]:
    """Execute a snippet after the names that its page assumes, and return its namespace."""
    code = SNIPPETS[heading]
    for module, replacement in MODULES.items():
        code = code.replace(module, replacement)
    assert "src." not in code
    namespace: dict[str, Any] = {"__name__": "snippet"}
    exec("from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, StepBuilderBase", namespace)
    namespace |= context
    exec(compile(code, heading, "exec"), namespace)
    return namespace


@pytest.fixture
def compliant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory that holds fusionzoo's train.py where the user's page expects the script."""
    (tmp_path / SCRIPT).parent.mkdir(parents=True)
    shutil.copy(ROOT / "train.py", tmp_path / SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path / SCRIPT


@pytest.mark.skipif(not USERS_PAGE.exists(), reason="the user's page of the contract is not next to the repository")
def test_the_snippets_are_those_of_the_users_page() -> None:
    assert read_snippets(USERS_PAGE.read_text("utf-8")) == SNIPPETS


def test_contract_access_prints_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    run_snippet("Contract Access")
    entry_point, requirements, inputs = capsys.readouterr().out.splitlines()
    assert entry_point == "Entry Point: train.py"
    assert requirements.startswith("Framework Requirements: {'torch': '==2.1.2', 'torchvision': '==0.16.2',")
    assert inputs.startswith("Expected Inputs: {'train_data': '/opt/ml/input/data/train',")


def test_validation_prints_that_the_script_complies(compliant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = run_snippet("Validation")["report"]
    assert capsys.readouterr().out == "train.py vs TrainingScriptContract: COMPLIANT\n", report.errors


def test_validation_prints_that_a_script_does_not_comply(compliant: Path, capsys: pytest.CaptureFixture[str]) -> None:
    compliant.write_text(NON_COMPLIANT, "utf-8")
    run_snippet("Validation")
    assert capsys.readouterr().out == "train.py vs TrainingScriptContract: NON-COMPLIANT\n"


def test_the_users_step_builder_warns_of_a_script_that_does_not_comply(compliant: Path, caplog: Any) -> None:
    builder = run_snippet("Integration with Step Builder")["PyTorchTrainingStepBuilder"]
    builder().validate_configuration()
    assert caplog.messages == []
    compliant.write_text(NON_COMPLIANT, "utf-8")
    builder().validate_configuration()
    (message,) = caplog.messages
    assert message.startswith("Script validation warnings: [")
    assert "/opt/ml/input/data/train" in message


def test_the_step_specification_has_the_names_of_the_users_page() -> None:
    assert run_snippet("With Step Specifications")["PYTORCH_TRAINING_SPEC"].contract.entry_point == "train.py"


def test_a_pipeline_builder_validates_its_scripts(compliant: Path) -> None:
    pipeline_builder = PipelineBuilder("pipeline", "arn:aws:iam::123456789012:role/trainer")
    pipeline_builder.add_step(PyTorchTrainingStepBuilder(source_dir=compliant.parent))
    run_snippet("With Pipeline Builder", pipeline_builder=pipeline_builder)
    compliant.write_text(NON_COMPLIANT, "utf-8")
    with pytest.raises(StepConfigurationError, match="NON-COMPLIANT"):
        run_snippet("With Pipeline Builder", pipeline_builder=pipeline_builder)


def test_every_snippet_is_executed_by_a_test() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [heading for heading in SNIPPETS if f'run_snippet("{heading}"' not in source] == []
