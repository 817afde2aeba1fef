"""What steps of a pipeline refer to: buckets and keys, parameters, and the metrics of a registered model.

A moto server on this machine answers instead of AWS: see test_pipeline_sdk.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sagemaker", reason="the SDK is installed in .venv-sagemaker only")
from sagemaker.workflow.parameters import ParameterFloat, ParameterInteger, ParameterString

from aws_requests import IMAGE, RAW, ROLE, assemble, find_request_violations, serve_aws, write_scripts
from fusionzoo.contracts import PipelineBuilder, PyTorchTrainingStepBuilder
from fusionzoo.contracts.steps import (
    ModelStepSettings,
    ProcessingStepSettings,
    PyTorchModelStepBuilder,
    StepBuilderBase,
    TabularPreprocessStepBuilder,
    TrainingStepSettings,
    create_pipeline_session,
)
from fusionzoo.contracts.validation_report import ValidationReport
from fusionzoo.errors.step_errors import StepConfigurationError

CHANNELS = {"train_data": "s3://bucket/train", "val_data": "s3://bucket/val"}
TRAIN = TrainingStepSettings(role=ROLE, image_uri=IMAGE)
REGISTERED = ModelStepSettings(role=ROLE, image_uri=IMAGE, model_package_group="messages")
EVALUATION = "Steps.model_evaluation.ProcessingOutputConfig.Outputs['evaluation'].S3Output.S3Uri"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scripts(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch, serve_aws(patch):
        patch.setattr(StepBuilderBase, "validate_script", lambda self: ValidationReport(self.script.name, self.name))
        session = create_pipeline_session("us-east-1", "bucket")
        session.boto_session.client("s3").create_bucket(Bucket="bucket")
        yield session


def build(session: Any, builder: PipelineBuilder) -> dict[str, Any]:
    """Return the steps of a pipeline's definition by their names, after a comparison with the limits of AWS."""
    definition = builder.build(session).definition()
    request = {"PipelineName": builder.name, "PipelineDefinition": definition, "RoleArn": ROLE}
    assert find_request_violations("CreatePipeline", {**request, "ClientRequestToken": "0" * 32}) == []
    return {step["Name"]: step for step in json.loads(definition)["Steps"]}


def train_with(source: Path, parameters: list[Any], **settings: Any) -> PipelineBuilder:
    changed = TRAIN.model_copy(update=settings)
    pipeline = PipelineBuilder("values", ROLE, parameters=parameters)
    return pipeline.add_step(PyTorchTrainingStepBuilder(changed, source), CHANNELS)


# --- the metrics of a registered model


def test_a_registered_model_has_the_metrics_of_the_evaluation_step(session: Any, source: Path) -> None:
    steps = build(session, assemble(source, TRAIN, REGISTERED))
    metrics = steps["pytorch_model-RegisterModel"]["Arguments"]["ModelMetrics"]
    uri = {"Std:Join": {"On": "/", "Values": [{"Get": EVALUATION}, "evaluation.json"]}}
    assert metrics["ModelQuality"] == {"Statistics": {"ContentType": "application/json", "S3Uri": uri}}


def test_a_condition_step_can_read_the_metrics_of_the_evaluation_step(session: Any, source: Path) -> None:
    steps = build(session, assemble(source, TRAIN, REGISTERED))
    assert steps["model_evaluation"]["PropertyFiles"] == [
        {"PropertyFileName": "evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]
    assert "PropertyFiles" not in steps["tabular_preprocess"]


def test_a_model_is_registered_without_an_evaluation_step_or_with_an_earlier_evaluation(
    session: Any, source: Path
) -> None:
    def register(**inputs: str) -> dict[str, Any]:
        step = PyTorchModelStepBuilder(REGISTERED, source)
        pipeline = PipelineBuilder("values", ROLE).add_step(step, {"model": "s3://bucket/model.tar.gz", **inputs})
        arguments: dict[str, Any] = build(session, pipeline)["pytorch_model-RegisterModel"]["Arguments"]
        return arguments

    assert "ModelMetrics" not in register()
    statistics = register(evaluation="s3://bucket/evaluation")["ModelMetrics"]["ModelQuality"]["Statistics"]
    assert statistics["S3Uri"] == {"Std:Join": {"On": "/", "Values": ["s3://bucket/evaluation", "evaluation.json"]}}


def test_a_model_that_is_created_does_not_wait_for_the_evaluation(session: Any, source: Path) -> None:
    created = ModelStepSettings(role=ROLE, image_uri=IMAGE)
    assert EVALUATION not in json.dumps(build(session, assemble(source, TRAIN, created))["pytorch_model-CreateModel"])


# --- buckets and keys


@pytest.mark.parametrize(("prefix", "folder"), [(None, "s3://bucket"), ("teams/trust", "s3://bucket/teams/trust")])
def test_everything_is_written_below_the_prefix_of_the_session(
    session: Any, source: Path, monkeypatch: pytest.MonkeyPatch, prefix: str | None, folder: str
) -> None:
    monkeypatch.setattr(session, "default_bucket_prefix", prefix)
    steps = build(session, assemble(source, TRAIN, REGISTERED))
    arguments = steps["pytorch_training"]["Arguments"]
    assert arguments["CheckpointConfig"]["S3Uri"]["Std:Join"]["Values"][0] == folder
    assert arguments["OutputDataConfig"]["S3OutputPath"].startswith(f"{folder}/")
    (code,) = [
        item["S3Input"]["S3Uri"]
        for item in steps["model_evaluation"]["Arguments"]["ProcessingInputs"]
        if item["InputName"] == "code"
    ]
    assert code.startswith(f"{folder}/fusionzoo/code/")


@pytest.mark.parametrize(("key", "encryption"), [("", None), ("alias/trust", "aws:kms")])
def test_the_script_is_uploaded_with_the_key_of_the_results(
    session: Any, source: Path, key: str, encryption: str | None
) -> None:
    preprocess = ProcessingStepSettings(
        role=ROLE, image_uri=IMAGE, arguments={"id-name": "id", "label-name": "target"}, output_kms_key=key
    )
    pipeline = PipelineBuilder("values", ROLE).add_step(TabularPreprocessStepBuilder(preprocess, source), RAW)
    inputs = build(session, pipeline)["tabular_preprocess"]["Arguments"]["ProcessingInputs"]
    (uri,) = [item["S3Input"]["S3Uri"] for item in inputs if item["InputName"] == "code"]
    held = session.boto_session.client("s3").head_object(Bucket="bucket", Key=uri.removeprefix("s3://bucket/"))
    assert held.get("ServerSideEncryption") == encryption
    assert held.get("SSEKMSKeyId", "") == key


# --- parameters


@pytest.mark.parametrize("image", [{"image_uri": IMAGE}, {"image_uri": "", "framework_version": "2.5.1"}])
def test_hyperparameters_can_be_parameters_of_the_pipeline(session: Any, source: Path, image: dict[str, str]) -> None:
    parameters = [ParameterFloat("Rate", 0.001), ParameterInteger("Epochs", 3), ParameterString("Model", "cnn")]
    names = ["lr", "max_epochs", "model_class"]
    given = {**dict(zip(names, parameters, strict=True)), "batch_size": 32}
    steps = build(session, train_with(source, parameters, hyperparameters=given, **image))
    sent = steps["pytorch_training"]["Arguments"]["HyperParameters"]
    for name, parameter in zip(names, parameters, strict=True):
        value = sent[name].get("Std:Join", {"Values": [sent[name]]})
        assert value["Values"] == [{"Get": f"Parameters.{parameter.name}"}]
    assert sent["batch_size"] == "32"


def test_a_parameter_that_the_pipeline_does_not_define_is_an_error(session: Any, source: Path) -> None:
    rate, epochs = ParameterFloat("Rate", 0.001), ParameterInteger("Epochs", 3)
    pipeline = train_with(source, [epochs], hyperparameters={"lr": rate, "max_epochs": epochs})
    with pytest.raises(StepConfigurationError) as caught:
        pipeline.build(session)
    (problem,) = caught.value.problems
    assert problem.code == "FZ-W023"
    assert problem.message == "it has no parameter 'Rate', which a step refers to"
