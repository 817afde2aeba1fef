"""Each step of a pipeline is aligned with the contract of its script, and with the steps that it takes inputs from."""

from __future__ import annotations

from typing import Any

import pytest

from fusionzoo.contracts import (
    PYTORCH_TRAIN_CONTRACT,
    PYTORCH_TRAINING_SPEC,
    XGBOOST_TRAIN_CONTRACT,
    StepSpecification,
    TrainingScriptContract,
)
from fusionzoo.contracts.steps import STEP_SPECIFICATIONS, StepDependency, StepOutput

TRAIN_DATA = PYTORCH_TRAINING_SPEC.dependencies["train_data"]


def change(part: str, **entries: Any) -> StepSpecification:
    """Return the training step's specification with other or without (None) dependencies or outputs."""
    changed = {**getattr(PYTORCH_TRAINING_SPEC, part), **entries}
    return PYTORCH_TRAINING_SPEC.model_copy(update={part: {k: v for k, v in changed.items() if v is not None}})


@pytest.mark.parametrize("name", STEP_SPECIFICATIONS)
def test_a_shipped_specification_is_aligned_with_its_contract(name: str) -> None:
    report = STEP_SPECIFICATIONS[name].validate_contract_alignment()
    assert report.errors == []
    assert report.summary == f"{name} vs {type(STEP_SPECIFICATIONS[name].contract).__name__}: COMPLIANT"


def test_the_training_step_has_the_channels_and_outputs_of_the_contract() -> None:
    assert PYTORCH_TRAINING_SPEC.step_name == "pytorch_training"
    assert PYTORCH_TRAINING_SPEC.step_type == "Training"
    required = {name for name, dependency in PYTORCH_TRAINING_SPEC.dependencies.items() if dependency.is_required}
    assert required == {"train_data", "val_data"}
    assert not {"config", "input_data_config"} & PYTORCH_TRAINING_SPEC.dependencies.keys(), "SageMaker writes them"
    assert {name: output.property_path for name, output in PYTORCH_TRAINING_SPEC.outputs.items()} == {
        "model_output": "properties.ModelArtifacts.S3ModelArtifacts",
        "data_output": "properties.OutputDataConfig.S3OutputPath",
        "checkpoints": "properties.CheckpointConfig.S3Uri",
        "failure": "properties.FailureReason",
    }


def test_every_source_of_an_input_is_an_output_of_the_step_that_it_names() -> None:
    sources = [
        (step, path)
        for specification in STEP_SPECIFICATIONS.values()
        for dependency in specification.dependencies.values()
        for step, path in dependency.sources.items()
    ]
    assert len(sources) == 7
    for step, path in sources:
        assert path in {output.property_path for output in STEP_SPECIFICATIONS[step].outputs.values()}


def test_a_file_is_mounted_with_its_folder_and_a_channel_as_a_whole() -> None:
    evaluation = STEP_SPECIFICATIONS["model_evaluation"].dependencies
    assert evaluation["model"].folder == "/opt/ml/processing/model"
    assert evaluation["data"].folder == "/opt/ml/processing/test"
    assert PYTORCH_TRAINING_SPEC.dependencies["config_channel"].folder == "/opt/ml/input/data/config"
    assert STEP_SPECIFICATIONS["pytorch_model"].dependencies["evaluation"].folder == ""


@pytest.mark.parametrize(
    ("specification", "message"),
    [
        (change("dependencies", train_data=None), "the contract's input train_data is not a dependency"),
        (
            change("dependencies", train_data=TRAIN_DATA.model_copy(update={"path": "/opt/ml/input/data/training"})),
            "train_data is mounted at /opt/ml/input/data/training, and the script reads /opt/ml/input/data/train",
        ),
        (
            change("dependencies", train_data=TRAIN_DATA.model_copy(update={"is_required": False})),
            "train_data is required in the contract",
        ),
        (
            change("dependencies", raw=StepDependency(logical_name="raw", path="/opt/ml/input/data/raw")),
            "the contract has no input raw",
        ),
        (change("dependencies", other=TRAIN_DATA), "the dependency other has the logical name train_data"),
        (
            change("dependencies", train_data=TRAIN_DATA.model_copy(update={"sources": {"a": "Outputs.train"}})),
            "Outputs.train of a, the source of train_data, is not a property path",
        ),
        (
            change("dependencies", train_data=TRAIN_DATA.model_copy(update={"path": None})),
            "train_data has no path, and the script reads /opt/ml/input/data/train",
        ),
        (
            change("dependencies", metrics=StepDependency(logical_name="metrics")),
            "metrics is required, and the script does not read it",
        ),
        (change("outputs", model_output=None), "the contract's output model_output is not an output of the step"),
        (
            change(
                "outputs",
                model_output=StepOutput(
                    logical_name="model_output", path="/opt/ml/model", property_path="properties.CheckpointConfig.S3Uri"
                ),
            ),
            "properties.CheckpointConfig.S3Uri does not hold the output model_output, which is at /opt/ml/model",
        ),
        (
            change("outputs", logs=StepOutput(logical_name="logs", path="/opt/ml/output/logs", property_path="")),
            "the contract has no output logs at /opt/ml/output/logs",
        ),
        (
            PYTORCH_TRAINING_SPEC.model_copy(update={"step_type": "Processing"}),
            "a Processing step cannot run the script of a SageMaker Training Job",
        ),
    ],
)
def test_each_difference_between_a_specification_and_its_contract_is_an_error(
    specification: StepSpecification, message: str
) -> None:
    report = specification.validate_contract_alignment()
    assert not report.is_valid
    assert message in report.errors


def test_the_specification_of_any_contract_is_aligned_by_construction() -> None:
    for contract in (PYTORCH_TRAIN_CONTRACT, XGBOOST_TRAIN_CONTRACT):
        specification = StepSpecification.for_contract("train", "Training", contract)
        assert specification.validate_contract_alignment().errors == []


def test_an_output_that_no_property_of_the_step_holds_is_an_error() -> None:
    contract = TrainingScriptContract(
        entry_point="train.py",
        framework="any",
        expected_input_paths={},
        expected_output_paths={"tensors": "/opt/ml/output/tensors"},
    )
    report = StepSpecification.for_contract("train", "Training", contract).validate_contract_alignment()
    assert report.errors == [
        "no property of a Training step holds the output tensors, which is at /opt/ml/output/tensors"
    ]
