"""A script contract refuses itself when it contradicts itself or SageMaker, and names what is wrong."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fusionzoo.contracts import (
    InferenceScriptContract,
    ProcessingScriptContract,
    ScriptContract,
    TrainingScriptContract,
)
from fusionzoo.errors.contract_errors import ContractError

CORRECT: dict[str, Any] = {
    "entry_point": "train.py",
    "framework": "PyTorch",
    "expected_input_paths": {"train_data": "/opt/ml/input/data/train"},
    "expected_output_paths": {"model_output": "/opt/ml/model"},
    "required_env_vars": ["TOKEN"],
    "optional_env_vars": {"SM_CHECKPOINT_DIR": "/opt/ml/checkpoints"},
    "framework_requirements": {"torch": "==2.1.2"},
}
PROCESSING: dict[str, Any] = {
    "entry_point": "preprocess.py",
    "framework": "pandas",
    "expected_input_paths": {"raw_data": "/opt/ml/processing/input"},
    "expected_output_paths": {"train_data": "/opt/ml/processing/train"},
}


def training(**changed: Any) -> TrainingScriptContract:
    return TrainingScriptContract(**{**CORRECT, **changed})


def inputs(**paths: str) -> dict[str, dict[str, str]]:
    return {"expected_input_paths": {**CORRECT["expected_input_paths"], **paths}}


def outputs(**paths: str) -> dict[str, dict[str, str]]:
    return {"expected_output_paths": {**CORRECT["expected_output_paths"], **paths}}


def refusal(build: Any, **changed: Any) -> list[str]:
    """Return the codes of the problems of a contract."""
    with pytest.raises(ContractError) as caught:
        build(**changed)
    return sorted({problem.code for problem in caught.value.problems})


def test_a_correct_contract_is_accepted() -> None:
    contract = training()
    assert contract.container_type == "SageMaker Training Job"
    assert contract.relative_path("model_output") == "model"


@pytest.mark.parametrize(
    "entry_point", ["train", "train.sh", "/opt/ml/code/train.py", "../train.py", "", "a\\train.py"]
)
def test_an_entry_point_that_is_not_a_relative_python_file_is_refused(entry_point: str) -> None:
    assert refusal(training, entry_point=entry_point) == ["FZ-K001"]


def test_an_unknown_kind_of_job_is_refused() -> None:
    assert refusal(ScriptContract, **CORRECT, container_type="a laptop") == ["FZ-K002"]


@pytest.mark.parametrize("name", ["", "val-data", "1st", "a b"])
def test_a_logical_name_that_is_not_an_identifier_is_refused(name: str) -> None:
    assert refusal(training, **inputs(**{name: "/opt/ml/input/data/val"})) == ["FZ-K003"]


@pytest.mark.parametrize(
    "path",
    [
        "input/data/val",
        "",
        "/opt/ml/input/data/val/",
        "/opt/ml/input/data/../model",
        "/opt//ml/input/data/val",
        "//opt/ml/input/data/val",
        "/opt/ml/input/./data/val",
        "/opt/ml/input/data/v\x00l",
        "C:\\data",
    ],
)
def test_a_path_that_is_not_absolute_and_normalized_is_refused(path: str) -> None:
    assert refusal(training, **inputs(val_data=path)) == ["FZ-K004"]


@pytest.mark.parametrize("path", ["/home/user/val", "/opt/ml/model", "/opt/ml/input/database", "/opt/ml", "/"])
def test_an_input_that_the_kind_of_job_does_not_mount_is_refused(path: str) -> None:
    assert "FZ-K005" in refusal(training, **inputs(val_data=path))


@pytest.mark.parametrize("path", ["/tmp/model", "/opt/ml/output", "/opt/ml/models", "/opt/ml/processing/train"])
def test_an_output_that_the_kind_of_job_does_not_keep_is_refused(path: str) -> None:
    assert refusal(training, **outputs(other=path)) == ["FZ-K005"]


def test_a_training_path_in_a_processing_job_is_refused() -> None:
    changed = {**PROCESSING, "expected_output_paths": {"model_output": "/opt/ml/model"}}
    assert refusal(ProcessingScriptContract, **changed) == ["FZ-K005"]


def test_an_output_of_an_endpoint_is_refused_because_it_keeps_no_files() -> None:
    hosting = {
        "entry_point": "inference.py",
        "framework": "ONNX Runtime",
        "expected_input_paths": {},
        "expected_output_paths": {"model_output": "/opt/ml/model"},
    }
    with pytest.raises(ContractError, match="keeps no files"):
        InferenceScriptContract(**hosting)


@pytest.mark.parametrize("channel", ["a channel", "ümlaut", "x" * 65, "val:1"])
def test_a_channel_name_that_sagemaker_refuses_is_refused(channel: str) -> None:
    assert refusal(training, **inputs(val_data=f"/opt/ml/input/data/{channel}/part")) == ["FZ-K006"]


def test_the_folder_of_all_channels_is_not_a_channel() -> None:
    assert "FZ-K006" in refusal(training, expected_input_paths={"data": "/opt/ml/input/data"})


@pytest.mark.parametrize("channel", ["val", "a.b-c_1", "x" * 64])
def test_a_channel_name_that_sagemaker_accepts_is_accepted(channel: str) -> None:
    assert channel in training(**inputs(val_data=f"/opt/ml/input/data/{channel}")).expected_input_paths["val_data"]


def test_more_required_channels_than_a_job_can_have_are_refused() -> None:
    many = {f"channel_{number}": f"/opt/ml/input/data/{number}" for number in range(21)}
    assert refusal(training, expected_input_paths=many) == ["FZ-K007"]
    assert training(expected_input_paths=many, optional_paths=frozenset({"channel_0"})).optional_inputs == {"channel_0"}


@pytest.mark.parametrize(
    "changed",
    [
        inputs(again="/opt/ml/input/data/train"),
        inputs(model_output="/opt/ml/input/data/val"),
        {"required_env_vars": ["A", "A"]},
        {"required_env_vars": ["SM_CHECKPOINT_DIR"]},
        {"framework_requirements": {"scikit-learn": "==1.3.2", "Scikit_Learn": "==1.3.2"}},
    ],
)
def test_a_path_name_variable_or_package_that_is_declared_twice_is_refused(changed: dict[str, Any]) -> None:
    assert refusal(training, **changed) == ["FZ-K008"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("/opt/ml/processing/input", "/opt/ml/processing/input/clean"),
        ("/opt/ml/processing/output/raw", "/opt/ml/processing/output"),
    ],
)
def test_an_output_and_an_input_that_contain_each_other_are_refused(source: str, target: str) -> None:
    changed = {**PROCESSING, "expected_input_paths": {"a": source}, "expected_output_paths": {"b": target}}
    assert refusal(ProcessingScriptContract, **changed) == ["FZ-K009"]


def test_folders_that_share_the_start_of_a_name_do_not_contain_each_other() -> None:
    paths = {"expected_input_paths": {"a": "/opt/ml/processing/in"}}
    paths["expected_output_paths"] = {"b": "/opt/ml/processing/in2"}
    assert ProcessingScriptContract(**{**PROCESSING, **paths}).entry_point == "preprocess.py"


@pytest.mark.parametrize("name", ["", "1A", "A-B", "A B", "A=B", "X" * 513])
def test_a_name_that_no_environment_variable_can_have_is_refused(name: str) -> None:
    assert refusal(training, required_env_vars=[name]) == ["FZ-K010"]
    assert refusal(training, optional_env_vars={name: ""}) == ["FZ-K010"]


@pytest.mark.parametrize("default", ["x" * 513, "a\nb", "\x00"])
def test_a_default_that_no_environment_variable_can_have_is_refused(default: str) -> None:
    assert refusal(training, optional_env_vars={"A": default}) == ["FZ-K011"]


@pytest.mark.parametrize(
    ("package", "version"),
    [("torch", "2.1.2"), ("torch", "=2.1"), ("not a name", "==1"), ("", "==1"), ("torch==2.1.2", ""), ("a @ b", "")],
)
def test_a_requirement_that_pip_cannot_parse_is_refused(package: str, version: str) -> None:
    assert refusal(training, framework_requirements={package: version}) == ["FZ-K012"]


@pytest.mark.parametrize("field", ["optional_paths", "optional_channels"])
def test_a_reference_to_an_undeclared_path_is_refused_with_the_nearest_name(field: str) -> None:
    with pytest.raises(ContractError, match=f"{field}: the contract declares no 'train_dat'.*write 'train_data'"):
        training(**{field: frozenset({"train_dat"})})


@pytest.mark.parametrize("field", ["artifacts", "meanings"])
def test_artifacts_and_meanings_of_undeclared_names_are_refused(field: str) -> None:
    assert refusal(training, **{field: {"nothing": ["a"] if field == "artifacts" else "a"}}) == ["FZ-K013"]


@pytest.mark.parametrize("file", ["", "/opt/ml/model/model.pth", "../model.pth"])
def test_an_artifact_outside_the_folder_of_its_output_is_refused(file: str) -> None:
    assert refusal(training, artifacts={"model_output": [file]}) == ["FZ-K014"]


@pytest.mark.parametrize("name", ["--seed", "", "a b", "Seed"])
def test_an_argument_that_cannot_be_an_option_is_refused(name: str) -> None:
    assert refusal(ProcessingScriptContract, **PROCESSING, arguments={name: "1"}) == ["FZ-K015"]


@pytest.mark.parametrize("functions", [{"model-fn": []}, {"model_fn": ["class"]}])
def test_a_function_that_python_cannot_define_is_refused(functions: dict[str, list[str]]) -> None:
    hosting = {"entry_point": "inference.py", "framework": "ONNX Runtime"}
    paths = {"expected_input_paths": {"model": "/opt/ml/model"}, "expected_output_paths": {}}
    assert refusal(InferenceScriptContract, **hosting, **paths, functions=functions) == ["FZ-K016"]


def test_all_problems_of_a_contract_are_reported_together() -> None:
    found = refusal(training, entry_point="x", required_env_vars=["1"], framework_requirements={"torch": "2"})
    assert found == ["FZ-K001", "FZ-K010", "FZ-K012"]


def test_a_misspelled_field_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected_input_path"):
        training(expected_input_path={})


def test_a_contract_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        training().entry_point = "other.py"  # type: ignore[misc]
