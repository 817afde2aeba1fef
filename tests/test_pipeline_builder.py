"""Pipelines are checked before anything is sent to AWS; everything here works without the SageMaker Python SDK."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import fusionzoo.contracts
from fusionzoo.contracts import (
    PipelineBuilder,
    PyTorchTrainingStepBuilder,
    StepBuilderBase,
    TrainingScriptContract,
)
from fusionzoo.contracts.steps import (
    ModelEvaluationStepBuilder,
    ModelStepSettings,
    ProcessingStepSettings,
    PyTorchModelStepBuilder,
    StepSpecification,
    TabularPreprocessStepBuilder,
    TrainingStepSettings,
)
from fusionzoo.contracts.steps.sagemaker_sdk import import_sdk_module
from fusionzoo.errors.step_errors import MissingSageMakerSDKError, StepConfigurationError

ROOT = Path(__file__).parents[1]
SDK_PYTHON = ROOT / ".venv-sagemaker/bin/python"
SDK_TESTS = (
    *("tests/test_pipeline_sdk.py", "tests/test_pipeline_values_sdk.py"),
    *("tests/test_transform_sdk.py", "tests/test_deploy_aws.py"),
)
ROLE, IMAGE = "arn:aws:iam::123456789012:role/fusionzoo", "123456789012.dkr.ecr.us-east-1.amazonaws.com/fusionzoo:1"
OLDER_WITH_SDK = {"attrs", "graphql-core", "importlib-metadata", "packaging", "protobuf", "python-dateutil", "rich"}
TRAIN = TrainingStepSettings(role=ROLE, image_uri=IMAGE)
PREPROCESS = ProcessingStepSettings(role=ROLE, image_uri=IMAGE, arguments={"id-name": "id", "label-name": "target"})
RAW = {"raw_data": "s3://bucket/raw"}
COMPLIANT_SCRIPT = """
import os
from pathlib import Path

root = Path("/opt/ml")
for split in ("train", "val", "test"):
    (root / "input/data" / split / "rows.csv").read_text()
(root / "input/config/hyperparameters.json").read_text()
for folder in (root / "model", root / "output/data", Path(os.environ.get("SM_CHECKPOINT_DIR", "/opt/ml/checkpoints"))):
    (folder / "result.json").write_text("{}")
"""
without_sdk = pytest.mark.skipif(importlib.util.find_spec("sagemaker") is not None, reason="the SDK is installed")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder with the scripts of all steps; train.py complies with its contract."""
    for name in ("preprocess.py", "evaluate.py", "inference.py"):
        (tmp_path / name).write_text("")
    (tmp_path / "train.py").write_text(COMPLIANT_SCRIPT)
    return tmp_path


def read_problems(builder: Any, *arguments: Any) -> dict[str, str]:
    """Return the message of each problem of a builder's configuration by its code."""
    with pytest.raises(StepConfigurationError) as error:
        builder(*arguments)
    return {problem.code: str(problem) for problem in error.value.problems}


def find_input_problems(*steps: tuple[StepBuilderBase, dict[str, Any]]) -> dict[str, str]:
    """Return the problems of a pipeline's inputs and names by code."""
    pipeline = PipelineBuilder("pipeline", ROLE)
    for builder, inputs in steps:
        pipeline.add_step(builder, inputs)
    return {problem.code: str(problem) for problem in pipeline.find_problems()}


# --- configuration


def test_a_complete_configuration_is_valid(source: Path, caplog: pytest.LogCaptureFixture) -> None:
    PyTorchTrainingStepBuilder(TRAIN, source).validate_configuration()
    assert caplog.records == []


def test_a_script_that_does_not_comply_is_a_warning_of_the_configuration(
    source: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "train.py").write_text("print('nothing is read')\n")
    with caplog.at_level(logging.WARNING):
        PyTorchTrainingStepBuilder(TRAIN, source).validate_configuration()
    assert "Script validation warnings" in caplog.text
    assert "/opt/ml/input/data/train" in caplog.text


def test_all_problems_of_a_configuration_are_reported_together(tmp_path: Path) -> None:
    problems = read_problems(PyTorchTrainingStepBuilder(source_dir=tmp_path).validate_configuration)
    assert problems.keys() == {"FZ-W009", "FZ-W016"}
    assert problems["FZ-W009"].startswith("pytorch_training, ")
    assert f"the script {tmp_path}/train.py does not exist" in problems["FZ-W016"]


def test_a_required_environment_variable_must_be_set(source: Path) -> None:
    contract = TrainingScriptContract(
        entry_point="train.py",
        framework="any",
        expected_input_paths={},
        expected_output_paths={"checkpoints": "/opt/ml/checkpoints"},
        required_env_vars=["WORLD_NAME"],
    )

    class Builder(PyTorchTrainingStepBuilder):
        specification = StepSpecification.for_contract("train", "Training", contract)

    assert "environment[WORLD_NAME]" in read_problems(Builder(TRAIN, source).validate_configuration)["FZ-W009"]
    settings = TRAIN.model_copy(update={"environment": {"WORLD_NAME": "a"}})
    assert [*Builder(settings, source).find_problems()] == []


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("setup.py", {"distribution": "torch_distributed"}),
        ("requirements.txt", {"network_isolation": True}),
        (".git", {}),
    ],
)
def test_a_source_folder_that_would_break_the_job_is_refused(source: Path, file: str, changes: dict[str, Any]) -> None:
    settings = TrainingStepSettings(role=ROLE, framework_version="2.5.1", **changes)
    assert [*PyTorchTrainingStepBuilder(settings, source).find_problems()] == []
    (source / file).write_text("")
    (problem,) = PyTorchTrainingStepBuilder(settings, source).find_problems()
    assert problem.code == "FZ-W017"
    assert str(source / file) in problem.where


def test_the_options_of_a_processing_script_are_those_of_its_contract(source: Path) -> None:
    settings = PREPROCESS.model_copy(update={"arguments": {"id-name": "id", "label-nam": "target"}})
    problems = read_problems(TabularPreprocessStepBuilder(settings, source).validate_configuration)
    assert "write 'label-name'" in problems["FZ-W014"]
    assert "arguments[label-name]" in problems["FZ-W009"]


CONTRACT_SNIPPET = """
from fusionzoo.contracts import PYTORCH_TRAIN_CONTRACT, PYTORCH_TRAINING_SPEC, StepBuilderBase
from fusionzoo.contracts import PyTorchTrainingStepBuilder

class PyTorchTrainingStepBuilder(StepBuilderBase):
    def validate_configuration(self) -> None:
        # Validate script compliance
        validation = PYTORCH_TRAIN_CONTRACT.validate_implementation(
            'dockers/pytorch_bsm/train.py'
        )
        if not validation.is_valid:
            self.logger.warning(f"Script validation warnings: {validation.errors}")

# Contract aligns with step specification
assert PYTORCH_TRAIN_CONTRACT.entry_point == "train.py"
assert PYTORCH_TRAINING_SPEC.step_name == "pytorch_training"

# Contract validates script before pipeline execution
pipeline_builder.validate_script_contracts()
PyTorchTrainingStepBuilder().validate_configuration()
"""


@pytest.mark.parametrize(("script", "warnings"), [(COMPLIANT_SCRIPT, 0), ("print('nothing is read')", 1)])
def test_the_snippets_of_the_users_contract_run(
    script: str, warnings: int, source: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = source / "dockers/pytorch_bsm"
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(script)
    monkeypatch.chdir(source)
    pipeline_builder = PipelineBuilder("pipeline", ROLE).add_step(PyTorchTrainingStepBuilder(TRAIN, source))
    with caplog.at_level(logging.WARNING):
        exec(CONTRACT_SNIPPET, {"pipeline_builder": pipeline_builder})
    assert len(caplog.records) == warnings


# --- inputs


def test_the_steps_of_a_pipeline_provide_the_inputs_of_the_steps_after_them(source: Path) -> None:
    evaluate = ProcessingStepSettings(role=ROLE, image_uri=IMAGE)
    assert (
        find_input_problems(
            (TabularPreprocessStepBuilder(PREPROCESS, source), RAW),
            (PyTorchTrainingStepBuilder(TRAIN, source), {}),
            (ModelEvaluationStepBuilder(evaluate, source), {}),
            (PyTorchModelStepBuilder(ModelStepSettings(role=ROLE, image_uri=IMAGE), source), {}),
        )
        == {}
    )


def test_an_input_without_a_source_is_a_problem_that_names_the_step_to_add(source: Path) -> None:
    problems = find_input_problems((PyTorchTrainingStepBuilder(TRAIN, source), {"train_data": "s3://bucket/train"}))
    assert problems.keys() == {"FZ-W011"}
    assert "the required input 'val_data'" in problems["FZ-W011"]
    assert "tabular_preprocess" in problems["FZ-W011"]


def test_a_step_takes_no_input_from_a_step_after_it(source: Path) -> None:
    problems = find_input_problems(
        (PyTorchTrainingStepBuilder(TRAIN, source), {}), (TabularPreprocessStepBuilder(PREPROCESS, source), RAW)
    )
    assert problems.keys() == {"FZ-W011"}


def test_an_input_that_two_steps_provide_must_be_chosen(source: Path) -> None:
    other = PREPROCESS.model_copy(update={"name": "other"})
    preprocess = [
        (TabularPreprocessStepBuilder(PREPROCESS, source), RAW),
        (TabularPreprocessStepBuilder(other, source), RAW),
    ]
    problems = find_input_problems(*preprocess, (PyTorchTrainingStepBuilder(TRAIN, source), {}))
    assert "'tabular_preprocess', 'other' all provide the input" in problems["FZ-W011"]
    chosen = dict.fromkeys(("train_data", "val_data", "test_data"), "s3://bucket/rows")
    assert find_input_problems(*preprocess, (PyTorchTrainingStepBuilder(TRAIN, source), chosen)) == {}


@pytest.mark.parametrize("value", ["", "/data/train", "bucket/train", None])
def test_an_input_that_is_not_an_s3_uri_is_a_problem(source: Path, value: object) -> None:
    inputs = {"train_data": value, "val_data": "s3://bucket/val"}
    assert find_input_problems((PyTorchTrainingStepBuilder(TRAIN, source), inputs)).keys() == {"FZ-W013"}


def test_an_unknown_input_is_a_problem_with_the_nearest_name(source: Path) -> None:
    inputs = {"train_dat": "s3://bucket/train", "train_data": "s3://bucket/train", "val_data": "s3://bucket/val"}
    problems = find_input_problems((PyTorchTrainingStepBuilder(TRAIN, source), inputs))
    assert "write 'train_data'" in problems["FZ-W012"]


def test_two_steps_of_one_name_are_a_problem(source: Path) -> None:
    preprocess = (TabularPreprocessStepBuilder(PREPROCESS, source), RAW)
    assert find_input_problems(preprocess, preprocess).keys() == {"FZ-W018"}


# --- scripts


def test_a_pipeline_validates_every_script_before_it_is_assembled(source: Path) -> None:
    (source / "train.py").write_text("print('nothing is read')\n")
    (source / "evaluate.py").unlink()
    pipeline = PipelineBuilder("pipeline", ROLE)
    pipeline.add_step(PyTorchTrainingStepBuilder(TRAIN, source))
    pipeline.add_step(ModelEvaluationStepBuilder(ProcessingStepSettings(role=ROLE, image_uri=IMAGE), source))
    problems = read_problems(pipeline.validate_script_contracts)
    assert problems.keys() == {"FZ-W015", "FZ-W016"}
    assert "train.py vs TrainingScriptContract: NON-COMPLIANT" in problems["FZ-W015"]


def test_train_py_complies_and_the_pipeline_reports_it() -> None:
    pipeline = PipelineBuilder("pipeline", ROLE).add_step(PyTorchTrainingStepBuilder(TRAIN, ROOT))
    reports = pipeline.validate_script_contracts()
    assert {step: report.summary for step, report in reports.items()} == {
        "pytorch_training": "train.py vs TrainingScriptContract: COMPLIANT"
    }


# --- the SDK


@without_sdk
def test_building_without_the_sdk_names_the_extra(source: Path) -> None:
    pipeline = PipelineBuilder("pipeline", ROLE).add_step(TabularPreprocessStepBuilder(PREPROCESS, source), RAW)
    for build in (pipeline.build, pipeline.upsert):
        with pytest.raises(MissingSageMakerSDKError, match=re.escape("pip install 'fusionzoo[sagemaker]'")):
            build(session=None)


@pytest.mark.parametrize("version", ["3.27.0", "2.214.0", "1.72"])
def test_another_major_version_of_the_sdk_is_refused(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.metadata.version", lambda name: version)
    with pytest.raises(MissingSageMakerSDKError, match=f"version {version} is installed"):
        import_sdk_module("sagemaker")


def test_importing_contracts_imports_neither_the_sdk_nor_the_steps() -> None:
    unwanted = {"sagemaker", "boto3", "fusionzoo.contracts.steps"}
    code = f"import sys, fusionzoo.contracts; print(sorted({unwanted} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_contracts_exports_what_it_imports_on_first_use() -> None:
    for name in fusionzoo.contracts.__all__:
        assert getattr(fusionzoo.contracts, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        fusionzoo.contracts.no_such_name  # noqa: B018


def read_pins(path: Path) -> dict[str, str]:
    pins = [Requirement(line) for line in path.read_text("utf-8").splitlines() if not line.startswith("#")]
    return {re.sub(r"[-_.]+", "-", pin.name).lower(): str(pin.specifier) for pin in pins}


def test_the_environment_with_the_sdk_has_the_same_versions_but_for_seven_packages() -> None:
    pins, with_sdk = (read_pins(ROOT / f"{name}.txt") for name in ("constraints", "constraints-sagemaker"))
    assert {name for name in pins.keys() & with_sdk.keys() if pins[name] != with_sdk[name]} == OLDER_WITH_SDK


@pytest.mark.skipif(not SDK_PYTHON.exists(), reason="make install creates .venv-sagemaker, which this test needs")
def test_pipelines_are_built_with_the_sdk_against_a_local_server(tmp_path: Path) -> None:
    """Run tests with the SDK and moto, which need an environment of their own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "core"), "HOME": str(tmp_path)}
    command = [SDK_PYTHON, "-m", "pytest", "--noconftest", "-p", "no:cacheprovider", *SDK_TESTS]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "passed" in done.stdout
